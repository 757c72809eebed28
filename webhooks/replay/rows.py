"""
The source `rows`: Supabase's own webhook form, rebuilt from segmentation_results as they are now.

    {"type","table","schema","record","old_record"}

A row keeps no past: a pending one becomes the INSERT that it was, any other an UPDATE whose
old_record is null. The id is made of the row's id and its last change, so it is the same each time.
"""

import json
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from adapters.rest import Rest
from webhooks.replay.messages import Message
from webhooks.replay.portions import portions
from webhooks.replay.selection import Selection


TABLE: Final = "segmentation_results"
_PAGE: Final = 500
_ID: Final = re.compile(r"row_([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})_\d+")


async def read(door: Rest, selection: Selection) -> list[Message]:
    """Rows that *selection* may mean, by when they were made. Raises: RestError."""
    if not selection.ids:
        return await _matching(door, selection, ())
    # A message's id names its row; one that names none is in no source.
    named = [found[1] for each in selection.ids if (found := _ID.fullmatch(each))]
    return [message for ids in portions(named) for message in await _matching(door, selection, ids)]


async def _matching(door: Rest, selection: Selection, ids: Sequence[str]) -> list[Message]:
    """Rows with these ids; without any, all."""
    found: list[dict[str, Any]] = []
    last = "00000000-0000-0000-0000-000000000000"
    while True:
        query = door.table(TABLE).select("*").order("id").gt("id", last).limit(_PAGE)
        if ids:
            query = query.in_("id", ids)
        if selection.tasks:
            query = query.in_("id", selection.tasks)
        if selection.since is not None:
            query = query.gte("created_at", selection.since.isoformat())
        if selection.until is not None:
            query = query.lt("created_at", selection.until.isoformat())
        page: list[Any] = list((await query.execute()).data)
        found += page
        if len(page) < _PAGE:
            return [message_of(row) for row in found]
        last = page[-1]["id"]


def message_of(row: dict[str, Any]) -> Message:
    """The webhook that Supabase would send about *row*."""
    kind = "INSERT" if row["status"] == "pending" else "UPDATE"
    changed = datetime.fromisoformat(row["updated_at"])
    body = {"type": kind, "table": TABLE, "schema": "public", "record": row, "old_record": None}
    return Message(
        id=f"row_{row['id']}_{changed.timestamp() * 1e6:.0f}",
        type=kind,
        key=row["id"],
        body=json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode(),
        created_at=datetime.fromisoformat(row["created_at"]),
    )
