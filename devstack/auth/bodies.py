"""Request bodies and their checks."""

import re
from typing import Any, TypeVar

import pydantic
from aiohttp import web

from devstack.auth import errors, passwords


Body = TypeVar("Body", bound=pydantic.BaseModel)

EMAIL = re.compile(r"[^@\s,;:<>()\[\]\\\"]+@[^@\s,;:<>()\[\]\\\".]+(\.[^@\s,;:<>()\[\]\\\".]+)*")

MAX_EMAIL_CHARACTERS = 255


class Credentials(pydantic.BaseModel):
    email: str = ""
    phone: str = ""
    password: str = ""
    data: dict[str, Any] | None = None


class Refresh(pydantic.BaseModel):
    refresh_token: str = ""


class UserUpdate(pydantic.BaseModel):
    """What a user may change of their own."""

    email: str | None = None
    password: str | None = None
    data: dict[str, Any] | None = None


class AdminUser(pydantic.BaseModel):
    """What an administrator may set; absent means unchanged, and anything else is refused."""

    model_config = pydantic.ConfigDict(extra="forbid")

    id: str | None = None
    email: str | None = None
    password: str | None = None
    email_confirm: bool = False
    role: str | None = None
    user_metadata: dict[str, Any] | None = None
    app_metadata: dict[str, Any] | None = None


async def read(request: web.Request, model: type[Body]) -> Body:
    """The request's body as *model*. Raises: errors.BadJsonError, errors.ValidationFailedError."""
    try:
        return model.model_validate_json(await request.read() or b"{}")
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["type"] == "json_invalid":
            raise errors.BadJsonError from error
        field = ".".join(str(part) for part in first["loc"])
        raise errors.ValidationFailedError(f"{field}: {first['msg']}") from error


def checked_email(email: str) -> str:
    """*email* as it is stored. Raises: errors.ValidationFailedError."""
    cleaned = email.strip().lower()
    if len(cleaned) > MAX_EMAIL_CHARACTERS or not EMAIL.fullmatch(cleaned):
        raise errors.ValidationFailedError("Unable to validate email address: invalid format")
    return cleaned


def checked_password(password: str) -> str:
    """*password*. Raises: errors.WeakPasswordError, errors.ValidationFailedError."""
    if len(password) < passwords.MIN_CHARACTERS:
        raise errors.WeakPasswordError
    if len(password.encode()) > passwords.MAX_BYTES:
        raise errors.ValidationFailedError("Password cannot be longer than 72 characters")
    return password
