"""What a join asks of the database: permission and bindings."""

import logging

import psycopg

from devstack import context
from devstack.realtime import authorization, bindings, channel, filters


log = logging.getLogger(__name__)

NO_DATABASE = "UnableToConnectToProject: Realtime was unable to connect to the project database"


class RefusedError(Exception):
    """A join or a message is refused. The text goes to the client."""


async def authorize(pool: context.Pool, joined: channel.Channel) -> None:
    """Ask the policies what a private channel may receive. Raises: RefusedError."""
    if not joined.config.private:
        return
    joined.may_write = None
    try:
        joined.may_read = await authorization.may_read(pool, joined.who, joined.name)
    except psycopg.Error as error:
        log.warning("join of %s: %s", joined.topic, error)
        raise RefusedError(NO_DATABASE) from error
    if not joined.may_read:
        raise RefusedError(
            "Unauthorized: You do not have permissions to read from this Channel topic: "
            + joined.name
        )


async def accepted(pool: context.Pool, joined: channel.Channel) -> tuple[bindings.Binding, ...]:
    """The channel's bindings, checked with the database. Raises: RefusedError."""
    try:
        wanted = tuple(map(bindings.parse, joined.config.postgres_changes))
        if wanted:
            async with pool.connection(timeout=authorization.CONNECT_TIMEOUT_SECONDS) as connection:
                await bindings.check(connection, joined.who, wanted)
    except (bindings.BindingError, filters.FilterError) as error:
        raise RefusedError(str(error)) from error
    except psycopg.Error as error:
        log.warning("bindings of %s: %s", joined.topic, error)
        raise RefusedError(NO_DATABASE) from error
    return wanted
