"""Start everything together, watch it, and end it in order."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable

import psycopg
import psycopg_pool
from aiohttp import web

from devstack import context, errors, gateway, migrations, object_store, ports, postgres, processes
from devstack import settings as choices
from devstack import state as states


log = logging.getLogger(__name__)

#: The gateway's connections to PostgreSQL, which allows 100.
POOL_MIN_COUNT, POOL_MAX_COUNT = 4, 24

#: Open requests get this long at the end.
SHUTDOWN_SECONDS = 1.0

#: All of the gateway's clean-up, requests and feeds, gets this long.
CLEANUP_SECONDS = 5.0


async def run(
    settings: choices.Settings,
    state: states.State,
    lease: int,
    announce: Callable[[str], None],
) -> None:
    """
    Run the stack of *state* until cancelled; *announce* gets the env file's text.

    The env file exists exactly while everything answers. *lease* is for the guards.
    Raises: errors.StackError.
    """
    settings.env_file.unlink(missing_ok=True)
    state.ports.require_free()
    async with running(settings, state, lease) as programs:
        variables = env_text(settings, state)
        states.write_private(settings.env_file, variables)
        announce(variables)
        try:
            await watch(programs)
        finally:
            settings.env_file.unlink(missing_ok=True)


@contextlib.asynccontextmanager
async def running(
    settings: choices.Settings, state: states.State, lease: int
) -> AsyncIterator[list[processes.Process]]:
    """The stack, answering; yields its programs."""
    programs: list[processes.Process] = []
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_store(settings, state, lease, programs))
            group.create_task(_database(settings, state, lease, programs))
        async with served(settings, state):
            yield programs
    except* errors.StackError as several:
        raise several.exceptions[0] from None
    finally:
        await asyncio.gather(*(program.stop() for program in programs))


@contextlib.asynccontextmanager
async def served(settings: choices.Settings, state: states.State) -> AsyncIterator[None]:
    """The gateway, listening."""
    async with psycopg_pool.AsyncConnectionPool(
        state.database_url,
        kwargs={"autocommit": True},
        min_size=POOL_MIN_COUNT,
        max_size=POOL_MAX_COUNT,
        open=False,
    ) as pool:
        shared = context.Context(
            pool=pool,
            dsn=state.database_url,
            tokens=state.keys.tokens(url=state.url, lifetime_seconds=settings.jwt_seconds),
            anon_key=state.keys.anon_key,
            service_key=state.keys.service_key,
            jwt_secret=state.keys.jwt_secret,
            url=state.url,
        )
        await pool.wait()
        runner = web.AppRunner(
            gateway.build(shared), access_log=None, shutdown_timeout=SHUTDOWN_SECONDS
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, ports.HOST, state.ports.gateway).start()
            yield
        finally:
            await _clean_up(runner)


async def _clean_up(runner: web.AppRunner) -> None:
    """End the gateway; what does not end in time is left to die with the process."""
    try:
        async with asyncio.timeout(CLEANUP_SECONDS):
            await runner.cleanup()
    except TimeoutError:
        log.warning("The gateway did not end in %s s.", CLEANUP_SECONDS)


async def watch(programs: list[processes.Process]) -> None:
    """Wait until one of *programs* ends by itself. Raises: errors.ProcessDiedError."""
    waits = {asyncio.create_task(program.wait()): program for program in programs}
    try:
        ended, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    raise errors.ProcessDiedError(waits[ended.pop()].obituary())


def env_text(settings: choices.Settings, state: states.State) -> str:
    """The env file."""
    variables = state.environment(settings.bucket)
    return "".join(f"{name}={value}\n" for name, value in variables.items())


async def _store(
    settings: choices.Settings,
    state: states.State,
    lease: int,
    programs: list[processes.Process],
) -> None:
    store = object_store.Store(
        data=states.StateDir(settings.state_dir).objects,
        ports=state.ports,
        access_key_id=state.keys.r2_access_key_id,
        secret_access_key=state.keys.r2_secret_access_key,
        bucket=settings.bucket,
        memory=settings.object_store_memory,
    )
    programs.append(await object_store.start(store, lease))


async def _database(
    settings: choices.Settings,
    state: states.State,
    lease: int,
    programs: list[processes.Process],
) -> None:
    data = states.StateDir(settings.state_dir).postgres
    binaries = postgres.find_binaries(settings.postgres_bin)
    cluster = postgres.Cluster(
        binaries=binaries,
        data=data,
        port=state.ports.postgres,
        password=state.keys.postgres_password,
        disguise=postgres.prepare(data, binaries, settings.postgres_user),
    )
    programs.append(await postgres.start(cluster, lease))
    async with await psycopg.AsyncConnection.connect(
        state.database_url, autocommit=True
    ) as connection:
        await migrations.apply_platform(connection)
        for name in await migrations.apply_migrations(connection, settings.migrations_dir):
            log.info("migration_applied %s", name)
