"""Start everything together, watch it, and end it in order."""

import asyncio
import contextlib
import functools
import logging
import signal
from collections.abc import AsyncIterator, Callable

import psycopg
import psycopg_pool
from aiohttp import web

from devstack import (
    context,
    control,
    errors,
    gateway,
    migrations,
    net,
    object_store,
    ports,
    postgres,
)
from devstack import settings as choices
from devstack import state as states
from devstack.functions import deno
from devstack.functions import routes as function_routes
from devstack.supervisor import Supervisor


log = logging.getLogger(__name__)

#: The gateway's connections to PostgreSQL, which allows 100.
POOL_MIN_COUNT, POOL_MAX_COUNT = 4, 24

#: A request waits this long for a connection, and then is told that there is none.
POOL_WAIT_SECONDS = 5.0

#: A failed connection is given up after this, and tried again when the next request wants one;
#: psycopg's own five minutes of growing pauses would outlast a restart by seconds.
POOL_RECONNECT_SECONDS = 1.0

#: PostgreSQL on this machine takes a connection at once, or is not there.
CONNECT_SECONDS = 3

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
    async with running(settings, state, lease) as supervisor:
        variables = env_text(settings, state)
        states.write_private(settings.env_file, variables)
        announce(variables)
        try:
            await watch(supervisor)
        finally:
            settings.env_file.unlink(missing_ok=True)


@contextlib.asynccontextmanager
async def running(
    settings: choices.Settings, state: states.State, lease: int
) -> AsyncIterator[Supervisor]:
    """The stack, answering; yields what watches its programs."""
    supervisor = Supervisor()
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_store(settings, state, lease, supervisor))
            group.create_task(_database(settings, state, lease, supervisor))
        async with served(settings, state, lease, supervisor):
            yield supervisor
    except* errors.StackError as several:
        raise several.exceptions[0] from None
    finally:
        await supervisor.stop()


@contextlib.asynccontextmanager
async def served(
    settings: choices.Settings, state: states.State, lease: int, supervisor: Supervisor
) -> AsyncIterator[None]:
    async with psycopg_pool.AsyncConnectionPool(
        state.database_url,
        kwargs={"autocommit": True, "connect_timeout": CONNECT_SECONDS},
        min_size=POOL_MIN_COUNT,
        max_size=POOL_MAX_COUNT,
        timeout=POOL_WAIT_SECONDS,
        reconnect_timeout=POOL_RECONNECT_SECONDS,
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
        app = gateway.build(shared)
        control.add_routes(app, supervisor)
        function_routes.add_routes(app, _functions(settings, state, lease))
        if settings.net:
            net.add_to(app)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
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


async def watch(supervisor: Supervisor) -> None:
    try:
        await supervisor.watch()
    except* errors.ProcessDiedError as several:
        raise several.exceptions[0] from None


def env_text(settings: choices.Settings, state: states.State) -> str:
    variables = state.environment(settings.bucket)
    return "".join(f"{name}={value}\n" for name, value in variables.items())


def _functions(settings: choices.Settings, state: states.State, lease: int) -> deno.Runtime:
    """Functions are started when they are first called."""
    return deno.Runtime(
        folder=settings.functions_dir,
        state=states.StateDir(settings.state_dir).functions,
        environ=deno.environment(state.environment(settings.bucket), settings.functions_env),
        lease=lease,
    )


async def _store(
    settings: choices.Settings,
    state: states.State,
    lease: int,
    supervisor: Supervisor,
) -> None:
    store = object_store.Store(
        data=states.StateDir(settings.state_dir).objects,
        ports=state.ports,
        access_key_id=state.keys.r2_access_key_id,
        secret_access_key=state.keys.r2_secret_access_key,
        bucket=settings.bucket,
        memory=settings.object_store_memory,
    )
    opened = functools.partial(object_store.start, store, lease)
    await supervisor.start("objects", opened, end=signal.SIGTERM)


async def _database(
    settings: choices.Settings,
    state: states.State,
    lease: int,
    supervisor: Supervisor,
) -> None:
    data = states.StateDir(settings.state_dir).postgres
    binaries = postgres.find_binaries(settings.postgres_bin)
    cluster = postgres.Cluster(
        binaries=binaries,
        data=data,
        port=state.ports.postgres,
        password=state.keys.postgres_password,
        run_as=postgres.prepare(data, binaries, settings.postgres_user),
    )
    # Immediate: what a restart by a failover or a crash looks like.
    opened = functools.partial(postgres.start, cluster, lease)
    await supervisor.start("postgres", opened, end=signal.SIGQUIT)
    async with await psycopg.AsyncConnection.connect(
        state.database_url, autocommit=True
    ) as connection:
        await migrations.apply_platform(connection)
        await net.settle(connection, wanted=settings.net)
        for name in await migrations.apply_migrations(connection, settings.migrations_dir):
            log.info("migration_applied %s", name)
