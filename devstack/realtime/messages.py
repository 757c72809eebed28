"""Broadcasts from the database: rows that `realtime.send` adds to `realtime.messages`."""

import logging
from collections.abc import Iterator

from devstack import context
from devstack.realtime import hub, pgoutput


log = logging.getLogger(__name__)

PUBLICATION = "supabase_realtime_messages_publication"

SCHEMA = "realtime"
#: The table, or the first part of its partitions' names.
TABLE = "messages"

#: The hosted platform keeps messages for three days; a laptop has less use for old ones.
PRUNE = "delete from realtime.messages where inserted_at < now() - interval '1 hour'"


def is_message(change: pgoutput.Change) -> bool:
    """Whether *change* is about `realtime.messages` rather than about a table of the app."""
    return change.relation.schema == SCHEMA and change.relation.table.startswith(TABLE)


def broadcasts(transaction: pgoutput.Transaction) -> Iterator[hub.Broadcast]:
    """The broadcasts that *transaction* sent, in order."""
    for change in transaction.changes:
        if is_message(change) and change.action is pgoutput.Action.INSERT and change.new:
            sent = _broadcast(change.new)
            if sent is not None:
                yield sent


def _broadcast(row: pgoutput.Row) -> hub.Broadcast | None:
    topic, event, payload = row.get("topic"), row.get("event"), row.get("payload")
    if not (isinstance(topic, str) and isinstance(event, str) and isinstance(payload, str)):
        log.warning("message on %s not sent: topic, event or payload is null", topic)
        return None
    return hub.message(
        name=topic,
        private=row.get("private") == "t",
        event=event,
        payload=payload,
        meta={"id": row.get("id")},
    )


async def prune(pool: context.Pool) -> None:
    """Delete messages that nobody will ask for. Raises: psycopg.Error."""
    async with pool.connection() as connection:
        await connection.execute(PRUNE)
