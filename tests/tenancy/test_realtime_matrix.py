"""The matrix over Realtime: changes of published tables, and private topics."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
import realtime
from realtime import RealtimeSubscribeStates
from tenancy.accounts import Accounts
from tenancy.matrix import PUBLISHED, TABLES, TOPICS, Command, Gets, Role


WAIT_SECONDS = 10.0
PLAIN: dict[str, Any] = {
    "broadcast": {"ack": False, "self": False},
    "presence": {"key": "", "enabled": False},
}


@pytest.fixture
async def sockets(accounts: Accounts) -> AsyncIterator[dict[Role, realtime.AsyncRealtimeClient]]:
    """One connected client per role."""
    opened: dict[Role, realtime.AsyncRealtimeClient] = {}
    for role, account in accounts.by_role.items():
        client = realtime.AsyncRealtimeClient(
            f"{accounts.stack.url}/realtime/v1", accounts.stack.anon_key, auto_reconnect=False
        )
        await client.connect()
        await client.set_auth(account.token)
        opened[role] = client
    yield opened
    for client in opened.values():
        await client.close()


@pytest.mark.parametrize("table", sorted(PUBLISHED))
async def test_changes_reach_those_who_may_read_the_row(
    accounts: Accounts,
    database: psycopg.Connection[Any],
    sockets: dict[Role, realtime.AsyncRealtimeClient],
    table: str,
) -> None:
    """A change of A's row is told to exactly those whom the matrix lets select it."""
    heard = await listen(sockets, table)
    row = accounts.row_of(table, database)
    # Realtime keeps a table's order: a role that hears B's later row would have heard A's.
    await asyncio.wait_for(heard.arrival(Role.OWNER, row), WAIT_SECONDS)
    await heard.settle(accounts, sockets)

    allowed = {role for role, gets in TABLES[table][Command.SELECT].items() if gets is Gets.ROW}
    assert {role for role in Role if row in heard.rows[role]} == allowed


@pytest.mark.parametrize("table", sorted(PUBLISHED))
async def test_without_row_security_realtime_tells_everybody(
    accounts: Accounts,
    database: psycopg.Connection[Any],
    sockets: dict[Role, realtime.AsyncRealtimeClient],
    table: str,
) -> None:
    """Negative control: with row-level security off, user B hears of A's row."""
    heard = await listen(sockets, table)
    database.execute(f"alter table public.{table} disable row level security".encode())
    try:
        row = accounts.row_of(table, database)
        await asyncio.wait_for(heard.arrival(Role.OTHER, row), WAIT_SECONDS)
    finally:
        database.execute(f"alter table public.{table} enable row level security".encode())

    assert row in heard.rows[Role.OTHER]


@pytest.mark.parametrize("topic", TOPICS)
@pytest.mark.parametrize("role", Role)
async def test_who_may_join_a_private_topic(
    accounts: Accounts,
    sockets: dict[Role, realtime.AsyncRealtimeClient],
    topic: str,
    role: Role,
) -> None:
    """A private topic lets in whom the matrix names, and nobody else."""
    name = topic.format(owner=accounts.owner.id)
    channel = sockets[role].channel(name, {"config": {**PLAIN, "private": True}})
    states: list[RealtimeSubscribeStates] = []
    async with asyncio.timeout(WAIT_SECONDS):
        await channel.subscribe(lambda state, _error: states.append(state))

    assert (states[0] is RealtimeSubscribeStates.SUBSCRIBED) is TOPICS[topic][role]


def test_every_published_table_is_in_the_matrix(database: psycopg.Connection[Any]) -> None:
    """What Realtime tells of is what the matrix says it tells of."""
    rows = database.execute(
        "select tablename from pg_publication_tables where pubname = 'supabase_realtime'"
    )

    assert {name for (name,) in rows} == PUBLISHED


class Heard:
    """Ids of the rows that each role was told of."""

    def __init__(self) -> None:
        self.rows: dict[Role, set[str]] = {role: set() for role in Role}
        self.moved = asyncio.Event()

    def note(self, role: Role, change: Any) -> None:
        """Keep the id of a change."""
        self.rows[role].add(str(change["data"]["record"]["id"]))
        self.moved.set()

    async def arrival(self, role: Role, row: str) -> None:
        """Wait until *role* was told of *row*."""
        while row not in self.rows[role]:
            self.moved.clear()
            await self.moved.wait()

    async def settle(
        self, accounts: Accounts, sockets: dict[Role, realtime.AsyncRealtimeClient]
    ) -> None:
        """Wait until each signed-in role has heard of a row of its own, sent after A's."""
        for role in (Role.OTHER, Role.MACHINE, Role.DISABLED):
            account = accounts.by_role[role]
            made = accounts.ask(
                role,
                "POST",
                "segmentation_results",
                json_body={
                    "source_image_url": f"uploads/{account.id}/a.png",
                    "prompts": [{"id": "p0", "text": "red circle"}],
                },
                Prefer="return=representation",
            )
            await asyncio.wait_for(self.arrival(role, made.json()[0]["id"]), WAIT_SECONDS)


async def listen(sockets: dict[Role, realtime.AsyncRealtimeClient], table: str) -> Heard:
    """Subscribe every role to a table's changes; returns once the feed is live for each."""
    heard = Heard()
    for role, client in sockets.items():
        live = asyncio.Event()
        channel = client.channel(f"matrix-{role.name}-{table}", {"config": {**PLAIN}})
        channel.on_postgres_changes(
            "*", schema="public", table=table, callback=lambda change, r=role: heard.note(r, change)
        )
        channel.on_system(lambda _message, event=live: event.set())
        await channel.subscribe()
        await asyncio.wait_for(live.wait(), WAIT_SECONDS)
    return heard
