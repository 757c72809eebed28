"""Put the schema `net` into the database, or take it out, as the settings say."""

import psycopg

from devstack import migrations, sql


SOURCE = migrations.PLATFORM / "net" / "schema.sql"

Connection = psycopg.AsyncConnection[tuple[object, ...]]


async def settle(connection: Connection, *, wanted: bool) -> None:
    """Have `net` exactly if *wanted*, as a project has pg_net or has it not. Idempotent."""
    found = await connection.execute("select to_regnamespace('net') is not null")
    present = await found.fetchone() == (True,)
    if wanted == present:
        return
    async with connection.transaction():
        if present:
            await connection.execute("drop schema net cascade")
        else:
            for _, statement in sql.split(SOURCE.read_text()):
                await connection.execute(statement.encode())
