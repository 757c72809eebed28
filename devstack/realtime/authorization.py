"""
Private channels: what row-level security on `realtime.messages` lets someone do on a topic.

As on the hosted platform, by probing: write a message and see whether the subscriber can select
it, or write one as the subscriber; then roll back. Policies tell topics apart by `realtime.topic()`
and broadcasts from presence by the column `extension`.
"""

import dataclasses
import logging

import psycopg
from psycopg import errors

from devstack import context
from devstack.realtime import identity


log = logging.getLogger(__name__)

#: How long a join waits for a database connection.
CONNECT_TIMEOUT_SECONDS = 5.0

PROBE = """
insert into realtime.messages (topic, extension)
values (%(topic)s, 'broadcast'), (%(topic)s, 'presence')
returning id
"""
SEEN = "select extension from realtime.messages where topic = %s and id = any(%s)"
WRITE = "insert into realtime.messages (topic, extension) values (%s, %s)"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Permissions:
    """What is allowed on a topic, in one direction."""

    broadcast: bool
    presence: bool

    def __bool__(self) -> bool:
        return self.broadcast or self.presence


PUBLIC = Permissions(broadcast=True, presence=True)
NOTHING = Permissions(broadcast=False, presence=False)


async def may_read(pool: context.Pool, who: identity.Identity, topic: str) -> Permissions:
    """
    What *who* may receive on the private *topic*. A policy that fails allows nothing.

    Raises: psycopg.OperationalError where the database cannot be reached.
    """
    async with (
        pool.connection(timeout=CONNECT_TIMEOUT_SECONDS) as connection,
        connection.transaction(force_rollback=True),
    ):
        cursor = await connection.execute(PROBE, {"topic": topic})
        ids = [row[0] for row in await cursor.fetchall()]
        try:
            async with connection.transaction(force_rollback=True):
                await identity.assume(connection, who, topic=topic)
                cursor = await connection.execute(SEEN, [topic, ids])
                seen = {extension for (extension,) in await cursor.fetchall()}
        except psycopg.Error as error:
            if connection.broken:
                raise  # the database went away, and refused nothing
            log.warning("policy for topic %s and role %s failed: %s", topic, who.role, error)
            return NOTHING
    return Permissions(broadcast="broadcast" in seen, presence="presence" in seen)


async def may_write(pool: context.Pool, who: identity.Identity, topic: str) -> Permissions:
    """
    What *who* may send on the private *topic*. A policy that fails allows nothing.

    Raises: psycopg.OperationalError where the database cannot be reached.
    """
    async with (
        pool.connection(timeout=CONNECT_TIMEOUT_SECONDS) as connection,
        connection.transaction(force_rollback=True),
    ):
        return Permissions(
            broadcast=await _may_insert(connection, who, topic, "broadcast"),
            presence=await _may_insert(connection, who, topic, "presence"),
        )


async def _may_insert(
    connection: identity.Connection, who: identity.Identity, topic: str, extension: str
) -> bool:
    try:
        async with connection.transaction(force_rollback=True):
            await identity.assume(connection, who, topic=topic)
            await connection.execute(WRITE, [topic, extension])
    except errors.InsufficientPrivilege:
        return False
    except psycopg.Error as error:
        if connection.broken:
            raise
        log.warning("policy for topic %s and role %s failed: %s", topic, who.role, error)
        return False
    return True
