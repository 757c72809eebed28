"""
Errors of the gateway, in PostgREST's words and numbers.

The docstring of a class is its message, unless the place where it is raised gives another one.
"""

from collections.abc import Mapping
from typing import Any, ClassVar


class RestError(Exception):
    """Request failed."""

    code: str = "PGRST000"
    status: int = 500
    headers: Mapping[str, str] = {}

    def __init__(
        self, message: str | None = None, *, details: Any = None, hint: str | None = None
    ) -> None:
        self.message = message or str(type(self).__doc__)
        self.details = details
        self.hint = hint
        super().__init__(self.message)

    def body(self) -> dict[str, Any]:
        return {
            "code": self.code,
            "message": self.message,
            "details": self.details,
            "hint": self.hint,
        }


class RequestError(RestError):
    """Request is not valid"""

    status = 400


class QueryParameterError(RequestError):
    """Query string could not be parsed"""

    code = "PGRST100"


class InvalidBodyError(RequestError):
    """Empty or invalid json"""

    code = "PGRST102"


class ContentTypeError(RequestError):
    """Content-Type not acceptable"""

    code = "PGRST102"
    status = 415


class InvalidRangeError(RequestError):
    """Requested range not satisfiable"""

    code = "PGRST103"
    status = 416


class UnacceptableSchemaError(RequestError):
    """Invalid schema"""

    code = "PGRST106"
    status = 406


class MediaTypeError(RequestError):
    """None of these media types are available"""

    code = "PGRST107"
    status = 406


class NotEmbeddedError(RequestError):
    """Resource is not embedded in this request"""

    code = "PGRST108"


class SingularityError(RequestError):
    """Cannot coerce the result to a single JSON object"""

    code = "PGRST116"
    status = 406


class MethodNotAllowedError(RequestError):
    """Unsupported HTTP method"""

    code = "PGRST117"
    status = 405


class InvalidPreferencesError(RequestError):
    """Invalid preferences given with handling=strict"""

    code = "PGRST122"


class AggregatesNotAllowedError(RequestError):
    """Use of aggregate functions is not allowed"""

    code = "PGRST123"


class MaxAffectedError(RequestError):
    """Query result exceeds max-affected preference constraint"""

    code = "PGRST124"


class InvalidPathError(RequestError):
    """Invalid path specified in request URL"""

    code = "PGRST125"
    status = 404


class NotSupportedError(RequestError):
    """Feature not implemented"""

    code = "PGRST127"


class SchemaError(RestError):
    """Catalogue does not have it"""

    status = 400


class NoRelationshipError(SchemaError):
    """Could not find a relationship in the schema cache"""

    code = "PGRST200"


class AmbiguousRelationshipError(SchemaError):
    """Could not embed because more than one relationship was found"""

    code = "PGRST201"
    status = 300


class NoFunctionError(SchemaError):
    """Could not find the function in the schema cache"""

    code = "PGRST202"
    status = 404


class AmbiguousFunctionError(SchemaError):
    """Could not choose the best candidate function"""

    code = "PGRST203"
    status = 300


class NoColumnError(SchemaError):
    """Could not find the column in the schema cache"""

    code = "PGRST204"


class NoTableError(SchemaError):
    """Could not find the table in the schema cache"""

    code = "PGRST205"
    status = 404


class PoolError(RestError):
    """No database connection"""

    status = 503


class DatabaseUnreachableError(PoolError):
    """Database connection error. Retrying the connection."""

    code = "PGRST000"


class PoolTimeoutError(PoolError):
    """Timed out acquiring connection from connection pool."""

    code = "PGRST003"
    status = 504


class DatabaseError(RestError):
    """PostgreSQL refused"""

    #: Why a status may be missing here: `sqlstate.translate` sets it for each error.
    default_status: ClassVar[int] = 400

    def __init__(
        self,
        message: str,
        *,
        code: str,
        status: int = default_status,
        details: Any = None,
        hint: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, details=details, hint=hint)
        self.code = code
        self.status = status
        self.headers = headers or {}
