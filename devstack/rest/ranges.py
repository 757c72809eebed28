"""Which rows were asked for, and how Content-Range says which were given."""

import dataclasses
import re
from http import HTTPStatus

from devstack.rest import errors
from devstack.rest.query import Level


_RANGE = re.compile(r"(\d+)-(\d*)\Z")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """*limit* rows (None: all) after *offset* rows."""

    limit: int | None = None
    offset: int = 0


def requested(level: Level, range_header: str | None) -> Window:
    """
    The window of `limit=`, `offset=` and the Range header (only for GET), cut to both.

    Raises: InvalidRangeError.
    """
    window = Window(limit=level.limit, offset=level.offset)
    found = _RANGE.match(range_header.removeprefix("items=").strip()) if range_header else None
    if found is None:
        return window
    first, last = int(found[1]), int(found[2]) if found[2] else None
    if last is not None and first > last:
        raise errors.InvalidRangeError(
            details="The lower boundary must be lower than or equal to the upper boundary in the "
            "Range header."
        )
    end = _smallest(
        None if last is None else last + 1,
        None if window.limit is None else window.offset + window.limit,
    )
    offset = max(first, window.offset)
    return Window(offset=offset, limit=None if end is None else max(0, end - offset))


def content_range(offset: int, count: int, total: int | None) -> str:
    """Content-Range of *count* rows from *offset*, of *total* (None: not counted)."""
    rows = f"{offset}-{offset + count - 1}" if count else "*"
    return f"{rows}/{'*' if total is None else total}"


def status(offset: int, count: int, total: int | None) -> int:
    """200 for all rows, 206 for some. Raises: InvalidRangeError when *offset* is past the end."""
    if total is None:
        return HTTPStatus.OK
    if offset > total:
        raise errors.InvalidRangeError(
            details=f"An offset of {offset} was requested, but there are only {total} rows."
        )
    return HTTPStatus.PARTIAL_CONTENT if count < total else HTTPStatus.OK


def _smallest(*bounds: int | None) -> int | None:
    return min((bound for bound in bounds if bound is not None), default=None)
