"""
Pages of lists, newest first, by keyset: a page begins behind the last row of the page before.

A cursor is that row's sort key as opaque text. It is no secret and proves nothing: what a forged
one can reach is decided by row-level security, as for any other request.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.problems import Problem
from s3_sam3.contracts import limits
from s3_sam3.contracts.errors import ErrorCode


_LARGEST_ID: Final = 2**63 - 1


class NoQuery(BaseModel):
    """A route that takes no parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class PageQuery(NoQuery):
    """One page of a list."""

    limit: int = Field(default=20, ge=1, le=limits.MAX_PAGE_SIZE, description="Rows per page.")
    cursor: str | None = Field(
        default=None, max_length=512, description="`next_cursor` of the page before."
    )


@dataclass(frozen=True, slots=True)
class Order:
    """What a list is sorted by: an id, or a creation time and an id; both fall."""

    read_id: Callable[[Any], str | int]
    """Checks the id of a cursor. Raises: ValueError, TypeError."""
    by_time: bool = True

    def key(self, row: dict[str, Any]) -> list[Any]:
        """Give the sort key of *row*, as its cursor holds it."""
        return [row["created_at"], row["id"]] if self.by_time else [row["id"]]


def uuid_id(value: Any) -> str:
    """Read a UUID. Raises: ValueError."""
    return str(UUID(str(value)))


def number_id(value: Any) -> int:
    """Read a bigint. Raises: ValueError."""
    if not isinstance(value, int) or not 0 <= value <= _LARGEST_ID:
        raise ValueError
    return value


def text_id(pattern: re.Pattern[str]) -> Callable[[Any], str]:
    """Read a text of that form, so that nothing else gets into a filter."""

    def read(value: Any) -> str:
        if pattern.fullmatch(str(value)) is None:
            raise ValueError
        return str(value)

    return read


async def fetch(select: Any, query: PageQuery, order: Order) -> tuple[list[Any], str | None]:
    """
    Read one page of *select* (a postgrest query): its rows, and the cursor of the next page.

    Raises: Problem with INVALID_REQUEST for a cursor that no page answered.
    """
    if query.cursor is not None:
        select = _behind(select, query.cursor, order)
    if order.by_time:
        select = select.order("created_at", desc=True)
    # One row more than asked for tells whether there is a next page.
    answer = await select.order("id", desc=True).limit(query.limit + 1).execute()
    found: list[Any] = list(answer.data)
    shown = found[: query.limit]
    return shown, _encode(order.key(shown[-1])) if len(found) > query.limit else None


def _behind(select: Any, cursor: str, order: Order) -> Any:
    try:
        *time, last = _decode(cursor)
        row_id = order.read_id(last)
        if not order.by_time:
            return select.lt("id", row_id)
        (created_at,) = (datetime.fromisoformat(str(one)).isoformat() for one in time)
    except (ValueError, TypeError):
        message = "send next_cursor of an earlier answer, unchanged"
        fields = [{"field": "cursor", "message": message}]
        raise Problem(ErrorCode.INVALID_REQUEST, {"fields": fields}) from None
    return select.or_(
        f'created_at.lt."{created_at}",and(created_at.eq."{created_at}",id.lt.{row_id})'
    )


def _encode(key: list[Any]) -> str:
    raw = json.dumps(key, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(cursor: str) -> list[Any]:
    padded = cursor + "=" * (-len(cursor) % 4)
    try:
        key = json.loads(base64.urlsafe_b64decode(padded))
    except (binascii.Error, RecursionError) as error:
        raise ValueError from error
    if not isinstance(key, list):
        raise TypeError
    return key
