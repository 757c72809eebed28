"""Where messages are read, and what the command line asks of each source."""

import argparse
import contextlib
import uuid
from pathlib import Path
from typing import Final

from adapters.rest import Rest
from runtime import settings
from webhooks.replay import arguments, outbox, recording, rows
from webhooks.replay.errors import UsageError
from webhooks.replay.messages import Message, Standing
from webhooks.replay.selection import Mode, Selection
from webhooks.replay.settings import DatabaseSettings


OF_DATABASE: Final = frozenset({arguments.OUTBOX, arguments.ROWS})


def selected(asked: argparse.Namespace) -> Selection:
    """
    The filters of the command line; the mode has a default for each source.

    Raises: UsageError.
    """
    if not asked.source:
        msg = "Say where the messages come from: --from outbox, --from rows or --from FILE."
        raise UsageError(msg)
    if asked.source in OF_DATABASE:
        for each in asked.task:
            _check_task(each)
    status = None if asked.status == "any" else Standing(asked.status)
    repairing = asked.source == arguments.OUTBOX and status is None
    return Selection(
        mode=Mode(asked.mode or (Mode.RECOVER if repairing else Mode.ALL)),
        since=asked.since,
        until=asked.until,
        ids=tuple(asked.id),
        tasks=tuple(asked.task),
        types=tuple(asked.type),
        status=status,
        code=asked.code,
        limit=asked.limit,
    )


async def door(stack: contextlib.AsyncExitStack) -> Rest:
    """REST with the service key, until *stack* ends. Raises: SettingsError."""
    config = settings.load(DatabaseSettings)
    key = config.supabase_service_key.get_secret_value()
    return await stack.enter_async_context(Rest(url=config.supabase_url, key=key))


async def read(source: str, door: Rest | None, selection: Selection) -> list[Message]:
    """
    Messages that *selection* may mean; without a *door* the source is a file.

    Raises: UsageError, RestError.
    """
    if door is None:
        return recording.read(Path(source))
    if source == arguments.OUTBOX:
        return await outbox.read(door, selection)
    return await rows.read(door, selection)


def _check_task(text: str) -> None:
    try:
        uuid.UUID(text)
    except ValueError as error:
        msg = f"{text!r} is no id of a task."
        raise UsageError(msg) from error
