"""
Errors of the auth routes, in GoTrue's codes and words.

The docstring of a class is its message, unless the place where it is raised gives another one.
"""

from collections.abc import Mapping
from typing import Any, ClassVar


class AuthError(Exception):
    """The request is refused."""

    status: ClassVar[int]
    code: ClassVar[str]
    #: Further members of the body.
    more: ClassVar[Mapping[str, Any]] = {}

    @property
    def message(self) -> str:
        return str(self) or str(type(self).__doc__)


class BadJsonError(AuthError):
    """Could not parse request body as JSON"""

    status, code = 400, "bad_json"


class ValidationFailedError(AuthError):
    """The request body is not valid"""

    status, code = 400, "validation_failed"


class UnsupportedGrantError(AuthError):
    """unsupported_grant_type"""

    status, code = 400, "unsupported_grant_type"


class InvalidCredentialsError(AuthError):
    """Invalid login credentials"""

    status, code = 400, "invalid_credentials"


class RefreshTokenNotFoundError(AuthError):
    """Invalid Refresh Token: Refresh Token Not Found"""

    status, code = 400, "refresh_token_not_found"


class RefreshTokenUsedError(AuthError):
    """Invalid Refresh Token: Already Used"""

    status, code = 400, "refresh_token_already_used"


class NoAuthorizationError(AuthError):
    """A valid Bearer token is required"""

    status, code = 401, "no_authorization"


class BadJwtError(AuthError):
    """invalid JWT: unable to parse or verify signature"""

    status, code = 403, "bad_jwt"


class SessionNotFoundError(AuthError):
    """Session from session_id claim in JWT does not exist"""

    status, code = 403, "session_not_found"


class UserGoneError(AuthError):
    """User from sub claim in JWT does not exist"""

    status, code = 403, "user_not_found"


class NotAdminError(AuthError):
    """User not allowed"""

    status, code = 403, "not_admin"


class UserNotFoundError(AuthError):
    """User not found"""

    status, code = 404, "user_not_found"


class UserExistsError(AuthError):
    """User already registered"""

    status, code = 422, "user_already_exists"


class EmailExistsError(AuthError):
    """A user with this email address has already been registered"""

    status, code = 422, "email_exists"


class WeakPasswordError(AuthError):
    """Password should be at least 6 characters."""

    status, code = 422, "weak_password"
    more: ClassVar[Mapping[str, Any]] = {"weak_password": {"reasons": ["length"]}}


class SamePasswordError(AuthError):
    """New password should be different from the old password."""

    status, code = 422, "same_password"


class AnonymousDisabledError(AuthError):
    """Anonymous sign-ins are disabled"""

    status, code = 422, "anonymous_provider_disabled"


class DatabaseError(AuthError):
    """Database error saving new user"""

    status, code = 500, "unexpected_failure"


class NotSupportedError(AuthError):
    """The devstack signs users in by password only"""

    status, code = 501, "not_supported"


class DatabaseAwayError(AuthError):
    """The database does not answer"""

    status, code = 503, "request_timeout"
