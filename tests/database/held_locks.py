"""Transactions that hold a lock until the test goes on, so that a race happens every time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any


@asynccontextmanager
async def holding(operator: Any, lock: str, *values: Any) -> AsyncIterator[Any]:
    """An open transaction that has run the statement *lock*."""
    async with operator.pool.connection() as connection, connection.transaction():
        await connection.execute(lock, values)
        yield connection


async def somebody_waits_for(connection: Any, operator: Any) -> None:
    """Return once another transaction waits for a lock of *connection*."""
    query = "select count(*) from pg_stat_activity where %s = any(pg_blocking_pids(pid))"
    async with asyncio.timeout(20):
        while not await operator.value(query, connection.info.backend_pid):
            pass
