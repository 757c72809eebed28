"""Run a plan as the caller in one transaction, mostly in one round trip."""

import contextlib
import dataclasses
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import psycopg
from psycopg import AsyncConnection, AsyncRawCursor
from psycopg.rows import TupleRow

from devstack.context import Pool
from devstack.rest import errors
from devstack.rest.plan import Outcome, Plan


#: As hosted: extensions are found without their schema's name.
SEARCH_PATH = '"public", "extensions"'


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks, and what the database may read about the request."""

    role: str
    claims: Mapping[str, Any]
    method: str
    #: Below `/rest/v1`.
    path: str
    #: Names in lower case.
    headers: Mapping[str, str]
    #: Settings that PostgreSQL keeps for the role, such as `statement_timeout`.
    role_settings: Mapping[str, str]

    def settings(self) -> dict[str, str]:
        """Settings of the transaction; the role comes last, since it may set fewer than we."""
        return {
            **self.role_settings,
            "search_path": SEARCH_PATH,
            "request.jwt.claims": json.dumps(self.claims),
            "request.method": self.method,
            "request.path": self.path,
            "request.headers": json.dumps(dict(self.headers)),
            "request.cookies": "{}",
            "role": self.role,
        }


async def run(pool: Pool, plan: Plan, caller: Caller) -> Outcome:
    """
    Run *plan* and commit it, unless it must not be.

    Raises: psycopg.Error, SingularityError, MaxAffectedError.
    """
    # Only a result that is checked costs a second round trip: it must not be committed before.
    checked = plan.exactly_one or plan.max_affected is not None
    async with pool.connection() as connection:
        main = AsyncRawCursor(connection)
        async with _one_round_trip(connection):
            await _begin(connection, plan, caller)
            await main.execute(plan.sql.encode(), plan.values)
            if not checked:
                await connection.execute(b"commit")
        outcome = await _outcome(main)
        if checked:
            _check(plan, outcome)
            await connection.execute(b"commit")
    return outcome


@contextlib.asynccontextmanager
async def _one_round_trip(connection: AsyncConnection[TupleRow]) -> AsyncIterator[None]:
    """
    A pipeline that raises its first error, and only that.

    Left by an error, psycopg's own logs a warning for each statement that the error skipped.
    """
    first: psycopg.Error | None = None
    try:
        async with connection.pipeline():
            try:
                yield
            except psycopg.Error as error:
                first = error
    except psycopg.Error as error:
        raise (first or error) from None
    if first is not None:
        raise first


async def _begin(connection: AsyncConnection[TupleRow], plan: Plan, caller: Caller) -> None:
    await connection.execute(b"begin read only" if plan.read_only else b"begin")
    settings = caller.settings()
    calls = ", ".join(
        f"set_config(${index}, ${index + 1}, true)" for index in range(1, 2 * len(settings), 2)
    )
    values = [part for setting in settings.items() for part in setting]
    await AsyncRawCursor(connection).execute(f"select {calls}".encode(), values)


async def _outcome(cursor: AsyncRawCursor[TupleRow]) -> Outcome:
    row = await cursor.fetchone()
    assert row is not None, "an aggregate has one row"  # noqa: S101 (for the types)
    total, count, body, updated = row
    return Outcome(total=total, count=count, body=body, updated=updated)


def _check(plan: Plan, outcome: Outcome) -> None:
    """What must hold before a commit; leaving the connection by an error rolls back."""
    if plan.max_affected is not None and outcome.count > plan.max_affected:
        raise errors.MaxAffectedError(details=f"The query affects {outcome.count} rows")
    if plan.exactly_one and outcome.count != 1:
        raise errors.SingularityError(details=f"The result contains {outcome.count} rows")
