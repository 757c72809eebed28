"""Transactions that have got only half-way, so that a race is met on purpose and not by luck."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any


@asynccontextmanager
async def holding(operator: Any, lock: str, *values: Any) -> AsyncIterator[Any]:
    """A transaction that has got only as far as *lock*, as one of the others does half-way."""
    async with operator.pool.connection() as connection, connection.transaction():
        await connection.execute(lock, values)
        yield connection


async def somebody_waits_for(connection: Any, operator: Any) -> None:
    """Return when another transaction is blocked by that one."""
    query = "select count(*) from pg_stat_activity where %s = any(pg_blocking_pids(pid))"
    async with asyncio.timeout(20):
        while not await operator.value(query, connection.info.backend_pid):
            pass
