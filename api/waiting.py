"""The wait of `POST /api/v1/segment?wait=`: look at the row until it is final or time is up."""

import asyncio
from contextlib import suppress
from typing import Final

from aiohttp import web

from adapters import rest
from api import keys, rows, task_store
from s3_sam3.contracts.tasks import FINAL_STATUSES


_FIRST_PAUSE_SECONDS: Final = 0.15
_LONGEST_PAUSE_SECONDS: Final = 1.0
_GROWTH: Final = 1.5


async def until_final(request: web.Request, row: rows.Row, seconds: float) -> rows.Row:
    """
    Answer the row as it is when it became final, or after *seconds*.

    It ends early when the caller hangs up or the server stops. The task is queued already, so a
    failing look is no reason to fail the request: the caller would not learn its id.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    pause = _FIRST_PAUSE_SECONDS
    stopping = request.app[keys.STOPPING]
    while row["status"] not in FINAL_STATUSES and request.transport is not None:
        left = deadline - loop.time()
        if left <= 0 or await _set_within(stopping, min(pause, left)):
            break
        pause = min(pause * _GROWTH, _LONGEST_PAUSE_SECONDS)
        with suppress(rest.RestUnavailable):
            row = await task_store.read(request.app[keys.REST], request[keys.PRINCIPAL], row["id"])
    return row


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False
