"""What would let a reader of a file in somewhere: recognised by its name, and not written down."""

import re
from collections.abc import Collection, Iterable
from typing import Final
from urllib.parse import unquote_plus


REDACTED: Final = "[redacted]"

_SECRETIVE: Final = re.compile(
    r"secret|token|passw|pwd|api[-_]?key|access[-_]?key|auth|cookie|credential|session"
    r"|amz-signature|^key$|^jwt$|^sig$",
    re.IGNORECASE,
)
"""Not webhook-signature: it is good for one body and five minutes, and --preserve needs it."""


def is_secret(name: str, more: Collection[str] = ()) -> bool:
    """Whether a header or a query parameter of that name is one, or one of *more*."""
    asked = name.lower() in {each.lower() for each in more}
    return asked or _SECRETIVE.search(name) is not None


def headers(
    found: Iterable[tuple[str, str]], more: Collection[str] = ()
) -> tuple[tuple[str, str], ...]:
    """The headers without the values of secret ones."""
    return tuple((name, REDACTED if is_secret(name, more) else value) for name, value in found)


def url(text: str, more: Collection[str] = ()) -> str:
    """A URL, or a path with its query, without the values of secret parameters; else as it was."""
    before, mark, query = text.partition("?")
    return before + mark + "&".join(_parameter(part, more) for part in query.split("&"))


def _parameter(part: str, more: Collection[str]) -> str:
    name, equals, _ = part.partition("=")
    return f"{name}={REDACTED}" if equals and is_secret(unquote_plus(name), more) else part
