"""
Cursors of lists: the last row's place, as opaque text.

A cursor is no secret and proves nothing: what a forged one can reach is decided by row-level
security, as for any other request.
"""

import base64
import binascii
import json
import re
from datetime import datetime
from uuid import UUID

from api.problems import Problem
from s3_sam3.contracts.errors import ErrorCode


def encode(*place: str | int) -> str:
    """Write a place as URL-safe text."""
    raw = json.dumps(place, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode_time_and_id(cursor: str) -> tuple[str, UUID]:
    """Read a place in a list ordered by (created_at, id). Raises: Problem with INVALID_REQUEST."""
    try:
        created_at, row_id = _decode(cursor)
        return datetime.fromisoformat(str(created_at)).isoformat(), UUID(str(row_id))
    except (ValueError, TypeError):
        raise _bad_cursor() from None


def decode_time_and_text(cursor: str, text: re.Pattern[str]) -> tuple[str, str]:
    """The same for an id that is a *text*. Raises: Problem with INVALID_REQUEST."""
    try:
        created_at, row_id = _decode(cursor)
        if text.fullmatch(str(row_id)) is None:
            raise _bad_cursor()
        return datetime.fromisoformat(str(created_at)).isoformat(), str(row_id)
    except (ValueError, TypeError):
        raise _bad_cursor() from None


def decode_number(cursor: str) -> int:
    """Read a place in a list ordered by a numeric id. Raises: Problem with INVALID_REQUEST."""
    try:
        (number,) = _decode(cursor)
    except (ValueError, TypeError):
        raise _bad_cursor() from None
    if not isinstance(number, int) or not 0 <= number < 2**63:
        raise _bad_cursor()
    return number


def _decode(cursor: str) -> list[object]:
    padded = cursor + "=" * (-len(cursor) % 4)
    try:
        place = json.loads(base64.urlsafe_b64decode(padded))
    except (binascii.Error, RecursionError) as error:
        raise ValueError from error
    if not isinstance(place, list):
        raise TypeError
    return place


def _bad_cursor() -> Problem:
    fields = [{"field": "cursor", "message": "send next_cursor of an earlier answer, unchanged"}]
    return Problem(ErrorCode.INVALID_REQUEST, {"fields": fields})
