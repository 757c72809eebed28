"""Keep the catalogue; load it again after a notification or when a name is missing."""

import asyncio
import logging
import time

import psycopg
from psycopg.rows import TupleRow

from devstack.context import Pool
from devstack.rest import catalogue


log = logging.getLogger(__name__)

CHANNEL = "pgrst"
#: Wait before listening again after the connection broke.
RECONNECT_SECONDS = 1.0

#: Hosted projects have event triggers of these names, which is why there a new function can be
#: called at once; without them a changed one would be called as it was.
WATCH_DDL = b"""
do $install$
begin
    create or replace function extensions.pgrst_ddl_watch() returns event_trigger
    language plpgsql set search_path = '' as $function$
    begin
        if exists (
            select from pg_catalog.pg_event_trigger_ddl_commands() as command
            where command.schema_name is distinct from 'pg_temp'
            and command.command_tag !~ '(INDEX|POLICY|PUBLICATION|SEQUENCE)'
        ) then
            notify pgrst, 'reload schema';
        end if;
    end;
    $function$;

    create or replace function extensions.pgrst_drop_watch() returns event_trigger
    language plpgsql set search_path = '' as $function$
    begin
        if exists (
            select from pg_catalog.pg_event_trigger_dropped_objects() as dropped
            where not dropped.is_temporary
            and dropped.object_type in (
                'table', 'view', 'materialized view', 'foreign table', 'function', 'type',
                'table column', 'view column', 'table constraint', 'schema'
            )
        ) then
            notify pgrst, 'reload schema';
        end if;
    end;
    $function$;

    if not exists (select from pg_event_trigger where evtname = 'pgrst_ddl_watch') then
        create event trigger pgrst_ddl_watch on ddl_command_end
        execute function extensions.pgrst_ddl_watch();
    end if;
    if not exists (select from pg_event_trigger where evtname = 'pgrst_drop_watch') then
        create event trigger pgrst_drop_watch on sql_drop
        execute function extensions.pgrst_drop_watch();
    end if;
end;
$install$
"""


class SchemaCache:
    """The newest catalogue that a request needs."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._lock = asyncio.Lock()
        self._catalogue: catalogue.Catalogue | None = None
        self._loaded_at = 0.0
        self._forgotten_count = 0
        self._failed_at = 0.0
        self._failure: psycopg.Error | None = None

    async def get(self) -> catalogue.Catalogue:
        """The catalogue, loaded if there is none. Raises: psycopg.Error."""
        return self._catalogue or await self.reload(time.monotonic())

    async def reload(self, asked_at: float) -> catalogue.Catalogue:
        """
        A catalogue at least as new as *asked_at* (`time.monotonic()`).

        Requests that miss something at the same moment share one load, also one that fails: else
        each would wait for the database in its turn. Raises: psycopg.Error.
        """
        async with self._lock:
            if self._catalogue is not None and self._loaded_at >= asked_at:
                return self._catalogue
            if self._failure is not None and self._failed_at >= asked_at:
                raise self._failure
            started_at, forgotten_count = time.monotonic(), self._forgotten_count
            try:
                loaded = await self._load()
            except psycopg.Error as error:
                self._failure, self._failed_at = error, time.monotonic()
                raise
            # What was forgotten meanwhile may have been read before it changed.
            if forgotten_count == self._forgotten_count:
                self._catalogue, self._loaded_at = loaded, started_at
            return loaded

    def forget(self) -> None:
        """Load again at the next request."""
        self._forgotten_count += 1
        self._catalogue = None

    async def listen(self, dsn: str) -> None:
        """Forget the catalogue at each `notify pgrst, 'reload schema'`, until cancelled."""
        while True:
            try:
                await self._listen_once(dsn)
            except psycopg.Error as error:
                log.warning("The schema cache lost its connection: %s", error)
                # What was notified meanwhile is lost, and the database may be another one now.
                self.forget()
                await asyncio.sleep(RECONNECT_SECONDS)

    async def _listen_once(self, dsn: str) -> None:
        connection = await psycopg.AsyncConnection.connect(dsn, autocommit=True)
        async with connection:
            await _watch_ddl(connection)
            await connection.execute(b"listen " + CHANNEL.encode())
            self.forget()
            async for notice in connection.notifies():
                if notice.payload in {"", "reload schema"}:
                    self.forget()

    async def _load(self) -> catalogue.Catalogue:
        async with self._pool.connection() as connection, connection.transaction():
            await connection.execute(b"set local search_path = ''")
            cursor = await connection.execute(catalogue.LOAD)
            row = await cursor.fetchone()
        assert row is not None, "a select without from has one row"  # noqa: S101 (for the types)
        return catalogue.from_json(row[0])


async def _watch_ddl(connection: psycopg.AsyncConnection[TupleRow]) -> None:
    try:
        await connection.execute(WATCH_DDL)
    except psycopg.ProgrammingError as error:
        # Without event triggers, the program that changes the schema must `notify pgrst`.
        log.warning("The schema cache does not see DDL by itself: %s", error)
