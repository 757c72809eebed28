"""Looks at the database as its superuser, and comes back after each restart."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg.rows import DictRow, dict_row


#: One snapshot: what is final, what is not, and who has more tasks in work than the tier allows.
LOOK = """
select
    (select count(*) from public.segmentation_results where finished_at is null) as live,
    (select count(*) from public.segmentation_results where finished_at is not null) as final,
    (
        select count(*)
        from (
            select attempts.user_id, count(*) as tasks
            from segmentation.attempts
            where attempts.ended_at is null
            group by attempts.user_id
        ) as busy
        inner join public.users_profile as profile on busy.user_id = profile.id
        inner join segmentation.tiers on profile.tier = tiers.tier
        where busy.tasks > tiers.max_in_flight
    ) as over_cap,
    (select count(*) from public.users_profile where credits < 0) as in_debt,
    (select count(*) from segmentation.attempts where ended_at is null) as in_flight
"""


@dataclass(slots=True)
class Tally:
    """What all looks together saw."""

    looks: int = 0
    live: int = 0
    final: int = 0
    over_cap: int = 0
    in_debt: int = 0
    most_in_flight: int = 0


class Observer:
    """One connection, made again when it breaks."""

    def __init__(self, url: str) -> None:
        self.tally = Tally()
        self.looked = asyncio.Condition()
        """Notified after each look."""
        self._url = url
        self._connection: psycopg.AsyncConnection[DictRow] | None = None
        self._one_at_a_time = asyncio.Lock()

    async def rows(self, query: LiteralString | bytes, *values: Any) -> list[DictRow]:
        """Ask, and ask again after a restart."""
        async with self._one_at_a_time:
            while True:
                try:
                    return await self._ask(query, values)
                except psycopg.OperationalError:
                    self._connection = None
                    await asyncio.sleep(0.2)

    async def one(self, query: LiteralString, *values: Any) -> Any:
        """The only value of the only row."""
        (row,) = await self.rows(query, *values)
        (value,) = row.values()
        return value

    async def execute(self, statement: str) -> None:
        """Run a statement that is not known before."""
        await self.rows(statement.encode())

    async def watch(self, seconds: float) -> None:
        """Look every so many *seconds*, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(seconds)

    async def look(self) -> Tally:
        """Take one snapshot into the tally."""
        (seen,) = await self.rows(LOOK)
        tally = self.tally
        tally.looks += 1
        tally.live, tally.final = seen["live"], seen["final"]
        tally.over_cap += seen["over_cap"]
        tally.in_debt += seen["in_debt"]
        tally.most_in_flight = max(tally.most_in_flight, seen["in_flight"])
        async with self.looked:
            self.looked.notify_all()
        return tally

    async def until(self, holds: Callable[[], Awaitable[bool]], seconds: float) -> bool:
        """Wait at most *seconds* until it *holds*; whether it did."""
        ends_at = time.monotonic() + seconds
        while not (held := await holds()) and time.monotonic() < ends_at:
            await self.look()
            await asyncio.sleep(0.2)
        return held

    async def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            with contextlib.suppress(psycopg.Error):
                await self._connection.close()

    async def _ask(self, query: LiteralString | bytes, values: tuple[Any, ...]) -> list[DictRow]:
        if self._connection is None:
            self._connection = await psycopg.AsyncConnection.connect(
                self._url, autocommit=True, row_factory=dict_row, connect_timeout=3
            )
        cursor = await self._connection.execute(query, values or None)
        return await cursor.fetchall() if cursor.description else []
