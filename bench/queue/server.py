"""A PostgreSQL of the benchmark's own: the devstack's server, without gateway and object store."""

import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg import conninfo, sql

from devstack import migrations, postgres
from devstack import settings as choices
from devstack import state as states


Connection = psycopg.AsyncConnection[tuple[Any, ...]]

SETTINGS: tuple[LiteralString, ...] = (
    # We vacuum between rounds ourselves: when it runs by itself, it hits one side of a comparison.
    "alter system set autovacuum = off",
    "alter system set max_wal_size = '8GB'",
    "select pg_reload_conf()",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server whose database `postgres` has all migrations and stays as it is."""

    url: str

    def dsn(self, database: str) -> str:
        """The superuser's way into *database*."""
        return conninfo.make_conninfo(self.url, dbname=database)

    async def copy(self, database: str) -> str:
        """Make *database* again, with all migrations and no rows; its DSN."""
        name = sql.Identifier(database)
        async with connected(self.dsn("template1")) as connection:
            await connection.execute(
                sql.SQL("drop database if exists {} with (force)").format(name)
            )
            await connection.execute(sql.SQL("create database {} template postgres").format(name))
        return self.dsn(database)

    async def drop(self, database: str) -> None:
        """Forget *database*."""
        async with connected(self.dsn("template1")) as connection:
            name = sql.Identifier(database)
            await connection.execute(sql.SQL("drop database {} with (force)").format(name))


@contextlib.asynccontextmanager
async def serving(root: Path) -> AsyncIterator[Server]:
    """A server with its files below *root*, stopped at the end."""
    settings = choices.Settings.read(os.environ, {"state_dir": root, "port": 0})
    directory = states.StateDir(settings.state_dir)
    with directory.held() as lease:
        state = directory.load(0)
        binaries = postgres.find_binaries(settings.postgres_bin)
        cluster = postgres.Cluster(
            binaries=binaries,
            data=directory.postgres,
            port=state.ports.postgres,
            password=state.keys.postgres_password,
            run_as=postgres.prepare(directory.postgres, binaries, settings.postgres_user),
            # Money waits for its commit to be on the disk, and so does its competitor here.
            durable=True,
        )
        process = await postgres.start(cluster, lease)
        try:
            async with connected(state.database_url) as connection:
                await migrations.apply_platform(connection)
                await migrations.apply_migrations(connection, settings.migrations_dir)
                for statement in SETTINGS:
                    await connection.execute(statement)
            yield Server(url=state.database_url)
        finally:
            await process.stop()


@contextlib.asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[Connection]:
    """An autocommit connection as the superuser."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        yield connection
