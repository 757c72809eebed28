"""
The wait of `POST /api/v1/segment?wait=`: until the task is final, or time is up.

All waits with one access token share one poll, which reads their rows with that token. So
row-level security decides as everywhere else, without a key that sees everything, and a hundred
waits cost one query a tick.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from adapters.rest import Rest, RestRefused, RestUnavailable
from api import task_store
from api.auth import Principal
from api.problems import Problem
from s3_sam3.contracts.errors import ErrorCode
from s3_sam3.contracts.tasks import FINAL_STATUSES


_SHORTEST_PAUSE_SECONDS: Final = 0.15
_LONGEST_PAUSE_SECONDS: Final = 0.5

_ROWS_PER_QUERY: Final = 100
"""Their ids take 3.7 kB of the URL; some servers refuse one of 8 kB."""


@dataclass(slots=True, eq=False)
class _Wait:
    """One request that waits for one row."""

    request: web.Request
    task_id: str
    row: task_store.Row | None
    """As it was read last; None: it was deleted."""
    began: float
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Waits:
    """Every open wait of this process."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest
        self._by_token: dict[str, set[_Wait]] = {}
        self._polls: set[asyncio.Task[None]] = set()
        self._stopped = False

    def stop(self) -> None:
        """End every wait at once, now and from now on: each answers its row as it is."""
        self._stopped = True
        for waits in self._by_token.values():
            _end(waits)

    async def aclose(self) -> None:
        """Stop, and end the polls."""
        self.stop()
        for poll in self._polls:
            poll.cancel()
        await asyncio.gather(*self._polls, return_exceptions=True)

    async def until_final(
        self, request: web.Request, who: Principal, row: task_store.Row, seconds: float
    ) -> task_store.Row:
        """
        Answer *row* as it is when it became final, or after *seconds*.

        It ends early when the caller hangs up, the token expires or the server stops: the task is
        queued, and a request that failed now would not tell its id.
        Raises: Problem with NOT_FOUND, where the row was deleted meanwhile.
        """
        if seconds <= 0 or row["status"] in FINAL_STATUSES or self._stopped:
            return row
        wait = _Wait(request, row["id"], row, began=asyncio.get_running_loop().time())
        waits = self._waits_of(who)
        waits.add(wait)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await wait.ended.wait()
        finally:
            waits.discard(wait)
        if wait.row is None:
            raise Problem(ErrorCode.NOT_FOUND)
        return wait.row

    def _waits_of(self, who: Principal) -> set[_Wait]:
        waits = self._by_token.get(who.token)
        if waits is None:
            waits = self._by_token[who.token] = set()
            poll = asyncio.create_task(self._poll(who, waits))
            self._polls.add(poll)
            poll.add_done_callback(self._polls.discard)
        return waits

    async def _poll(self, who: Principal, waits: set[_Wait]) -> None:
        """Look at the rows again and again until nobody waits."""
        try:
            while waits:
                await asyncio.sleep(_pause(waits))
                await self._look(who, waits)
        finally:
            del self._by_token[who.token]
            _end(waits)

    async def _look(self, who: Principal, waits: set[_Wait]) -> None:
        every = list(waits)
        try:
            for start in range(0, len(every), _ROWS_PER_QUERY):
                batch = every[start : start + _ROWS_PER_QUERY]
                ids = {wait.task_id for wait in batch}
                rows = await task_store.read_states(self._rest, who, ids)
                for wait in batch:
                    wait.row = rows.get(wait.task_id)
        except RestUnavailable:
            return
        except RestRefused:
            _end(waits)
        over = {wait for wait in every if wait.ended.is_set() or _is_over(wait)}
        _end(over)
        waits -= over


def _pause(waits: set[_Wait]) -> float:
    """Look often while a wait is young: most tasks end quickly."""
    age = asyncio.get_running_loop().time() - max(wait.began for wait in waits)
    return min(max(age / 2, _SHORTEST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS)


def _is_over(wait: _Wait) -> bool:
    hung_up = wait.request.transport is None
    return hung_up or wait.row is None or wait.row["status"] in FINAL_STATUSES


def _end(waits: set[_Wait]) -> None:
    for wait in waits:
        wait.ended.set()
