"""
The wait of `POST /api/v1/segment?wait=`: until the task is final, or time is up.

All waits of one user share one poll, which reads all their rows in one query with that user's own
token, so row-level security decides as everywhere else and a thousand waits cost what one costs.
"""

import asyncio
from collections import Counter
from contextlib import suppress
from typing import Final
from uuid import UUID

from aiohttp import web

from adapters.rest import Rest, RestRefused, RestUnavailable
from api import task_store
from api.auth import Principal
from api.problems import Problem
from s3_sam3.contracts.errors import ErrorCode
from s3_sam3.contracts.tasks import FINAL_STATUSES


_FIRST_PAUSE_SECONDS: Final = 0.15
_LONGEST_PAUSE_SECONDS: Final = 1.0
_GROWTH: Final = 1.5


class Waits:
    """Every open wait of this process."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest
        self._polls: dict[UUID, _Poll] = {}
        self._stopped = False

    def stop(self) -> None:
        """End every wait at once, now and from now on: each answers the row as it is."""
        self._stopped = True
        for poll in self._polls.values():
            poll.notify()

    async def close(self) -> None:
        """End the polls."""
        tasks = [poll.task for poll in self._polls.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def until_final(
        self, request: web.Request, who: Principal, row: task_store.Row, seconds: float
    ) -> task_store.Row:
        """
        Answer *row* as it is when it became final, or after *seconds*.

        It ends early when the caller hangs up or the server stops. The task is queued already, so
        a look that fails is no reason to fail the request: the caller would not learn its id.
        """
        if seconds <= 0 or self._is_over(request):
            return row
        poll = self._poll_of(who)
        poll.join(row["id"])
        try:
            async with asyncio.timeout(seconds):
                while row["status"] not in FINAL_STATUSES:
                    await poll.ticked.wait()
                    row = poll.row(row)
                    if self._is_over(request):
                        break
        except TimeoutError:
            pass
        finally:
            poll.leave(row["id"])
        return row

    def _is_over(self, request: web.Request) -> bool:
        return self._stopped or request.transport is None

    def _poll_of(self, who: Principal) -> "_Poll":
        poll = self._polls.get(who.user_id)
        if poll is None:
            poll = self._polls[who.user_id] = _Poll(self._rest)
            poll.task = asyncio.create_task(self._run(poll, who.user_id))
        poll.who = who  # the newest token lives longest
        return poll

    async def _run(self, poll: "_Poll", user_id: UUID) -> None:
        try:
            await poll.run()
        finally:
            del self._polls[user_id]
            poll.notify()


class _Poll:
    """One user's rows, read again and again while somebody waits for one of them."""

    who: Principal
    task: asyncio.Task[None]

    def __init__(self, rest: Rest) -> None:
        self._rest = rest
        self._waiting: Counter[str] = Counter()
        self._rows: dict[str, task_store.Row] = {}
        self._refusal: RestRefused | None = None
        self._pause = _FIRST_PAUSE_SECONDS
        self._joined = asyncio.Event()
        self.ticked = asyncio.Event()

    def join(self, task_id: str) -> None:
        """Read that row too, and soon: most tasks end quickly."""
        self._waiting[task_id] += 1
        self._pause = _FIRST_PAUSE_SECONDS
        self._joined.set()

    def leave(self, task_id: str) -> None:
        self._waiting[task_id] -= 1
        self._waiting += Counter()  # drops what nobody waits for

    def notify(self) -> None:
        """Wake every wait once."""
        self.ticked.set()
        self.ticked = asyncio.Event()

    def row(self, before: task_store.Row) -> task_store.Row:
        """
        Give the row as it was read last; *before* if it was not read yet.

        Raises: RestRefused; Problem with NOT_FOUND, where the row was deleted meanwhile.
        """
        if self._refusal is not None:
            raise self._refusal
        row = self._rows.get(before["id"], before)
        if not row:
            raise Problem(ErrorCode.NOT_FOUND)
        return row

    async def run(self) -> None:
        """Look until nobody waits."""
        while self._waiting:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause):
                    await self._joined.wait()
                    # A wait that just began gets its own first pause, not the rest of a long one.
                    self._joined.clear()
                    await asyncio.sleep(_FIRST_PAUSE_SECONDS)
            self._pause = min(self._pause * _GROWTH, _LONGEST_PAUSE_SECONDS)
            await self._look()
            self.notify()

    async def _look(self) -> None:
        ids = tuple(self._waiting)
        self._refusal = None
        try:
            found = await task_store.read_all(self._rest, self.who, ids)
        except RestUnavailable:
            return
        except RestRefused as error:
            self._refusal = error
            return
        self._rows = {task_id: found.get(task_id, {}) for task_id in ids}
