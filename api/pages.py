"""
Pages of lists, newest first, by keyset: a page begins behind the last row of the page before.

A cursor is that row's sort key as opaque text. It is no secret and proves nothing: what a forged
one can reach is decided by row-level security, as for any other request.
"""

import base64
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

from pydantic import Field, TypeAdapter

from api.parsing import Query
from api.problems import Problem
from s3_sam3.contracts import limits
from s3_sam3.contracts.errors import ErrorCode


class PageQuery(Query):
    """One page of a list."""

    limit: int = Field(default=20, ge=1, le=limits.MAX_PAGE_SIZE, description="Rows per page.")
    cursor: str | None = Field(
        default=None, max_length=512, description="`next_cursor` of the page before."
    )


@dataclass(frozen=True, slots=True)
class Order:
    """The columns that a list is sorted by, all falling; the last one is unique."""

    columns: tuple[str, ...]
    key: TypeAdapter[Any]
    """Reads a cursor's values, so that nothing else gets into a filter."""


BY_NUMBER: Final = Order(
    ("id",), TypeAdapter(tuple[Annotated[int, Field(ge=0, lt=2**63, strict=True)]])
)
BY_TIME: Final = Order(("created_at", "id"), TypeAdapter(tuple[datetime, UUID]))


async def fetch(select: Any, query: PageQuery, order: Order) -> tuple[list[Any], str | None]:
    """
    Read one page of *select* (a postgrest query): its rows, and the cursor of the next page.

    Raises: Problem with INVALID_REQUEST for a cursor that no page answered.
    """
    if query.cursor is not None:
        select = select.or_(_behind(_decode(query.cursor, order), order.columns))
    for column in order.columns:
        select = select.order(column, desc=True)
    # One row more than asked for tells whether there is a next page.
    found: list[Any] = list((await select.limit(query.limit + 1).execute()).data)
    shown = found[: query.limit]
    if len(found) == len(shown):
        return shown, None
    return shown, _encode([shown[-1][column] for column in order.columns])


def _behind(key: tuple[str, ...], columns: tuple[str, ...]) -> str:
    """Write the filter of the rows behind *key*: `a < x or (a = x and b < y)`."""
    (column, value), *rest = zip(columns, key, strict=True)
    behind = f'{column}.lt."{value}"'
    if not rest:
        return behind
    further = _behind(key[1:], columns[1:])
    return f'{behind},and({column}.eq."{value}",{further})'


def _encode(key: list[Any]) -> str:
    raw = json.dumps(key, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(cursor: str, order: Order) -> tuple[str, ...]:
    padded = cursor + "=" * (-len(cursor) % 4)
    try:
        key = order.key.validate_json(base64.urlsafe_b64decode(padded))
    except ValueError:  # what no page answered: no base64, no JSON, or other values
        message = "send next_cursor of an earlier answer, unchanged"
        fields = [{"field": "cursor", "message": message}]
        raise Problem(ErrorCode.INVALID_REQUEST, {"fields": fields}) from None
    return tuple(str(value) for value in key)
