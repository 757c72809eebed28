"""Secrets of a request, recognised by the names of headers and query parameters."""

import re
from collections.abc import Collection, Iterable
from typing import Final
from urllib.parse import unquote_plus


REDACTED: Final = "[redacted]"

_SECRET_NAME: Final = re.compile(
    r"secret|token|passw|pwd|api[-_]?key|access[-_]?key|auth|cookie|credential|session"
    r"|amz-signature|^key$|^jwt$|^sig$",
    re.IGNORECASE,
)
"""Not webhook-signature: it is valid for one body and five minutes, and --preserve needs it."""


def is_secret(name: str, more: Collection[str] = ()) -> bool:
    """Whether a header or query parameter of that name is secret, or is one of *more*."""
    listed = name.lower() in {each.lower() for each in more}
    return listed or _SECRET_NAME.search(name) is not None


def headers(
    given: Iterable[tuple[str, str]], more: Collection[str] = ()
) -> tuple[tuple[str, str], ...]:
    """The headers, with the values of secret ones replaced."""
    return tuple((name, REDACTED if is_secret(name, more) else value) for name, value in given)


def url(text: str, more: Collection[str] = ()) -> str:
    """A URL, or a path with its query, with the values of secret parameters replaced."""
    before, mark, query = text.partition("?")
    return before + mark + "&".join(_parameter(part, more) for part in query.split("&"))


def _parameter(part: str, more: Collection[str]) -> str:
    name, equals, _ = part.partition("=")
    return f"{name}={REDACTED}" if equals and is_secret(unquote_plus(name), more) else part
