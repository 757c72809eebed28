"""From the command line to what is to be sent: messages, shots, and their seal."""

import argparse
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from yarl import URL

from adapters import settings, signatures
from adapters.rest import Rest
from replay import arguments, outbox, recording, rows
from replay.checkpoint import Checkpoint
from replay.errors import UsageError
from replay.faults import Faults, Shot
from replay.messages import Message, Standing
from replay.plan import Plan, planned
from replay.sealing import Seal, Signing, preserved
from replay.selection import Mode, Selection
from replay.settings import DatabaseSettings, ReplaySettings
from replay.targets import checked


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What was asked, ready to be sent."""

    asked: argparse.Namespace
    run: str
    source: str
    messages: list[Message]
    shots: list[Shot]
    left: int
    """Shots over --max."""
    gone: int
    """Messages of a resumed run that are no longer in the source."""
    seal: Seal

    def url_of(self, shot: Shot) -> URL:
        """Where a shot goes. Raises: UsageError."""
        url = self.asked.target or shot.message.url
        if url is None:
            msg = f"Nobody knows where {shot.message.id} went. Give --target."
            raise UsageError(msg)
        return checked(url, self.asked.target_allow)

    @property
    def plan(self) -> Plan:
        """What it would do. Raises: UsageError, when a target or a signature is impossible."""
        for message in self.messages:
            if self.seal.signing is Signing.FRESH:
                self.seal.secrets_for(message)
            elif self.seal.signing is Signing.PRESERVE:
                preserved(message)
        return planned(
            self.shots,
            run=self.run,
            source=self.source,
            rate=self.asked.rate,
            left=self.left,
            url_of=self.url_of,
        )


async def job_of(
    asked: argparse.Namespace, own: ReplaySettings, run: str, before: Checkpoint | None
) -> Job:
    """
    Read, choose and seal; *before* is the checkpoint of the run that goes on.

    Raises: UsageError, RestError, SettingsError.
    """
    if not asked.source:
        msg = "Say where the messages come from: --from outbox, --from rows or --from FILE."
        raise UsageError(msg)
    selection = selected(asked)
    if before is not None:
        # What was planned counts, not what would be chosen by now.
        selection = Selection(ids=before.ids)
    async with _door(asked.source) as door:
        messages = selection.of(await _read(asked.source, door, selection))
        seal = await _seal(asked, own, run, door, messages)
    faults = Faults(
        dup=asked.dup,
        drop=asked.drop,
        truncate=asked.truncate,
        delay_seconds=asked.delay,
        shuffle=asked.shuffle,
    )
    shots = faults.shots(messages, run)
    gone = 0
    if before is not None:
        shots = [shot for shot in shots if shot.name not in before.done]
        found = {message.id for message in messages}
        # Copies of a message that is gone are not counted: nobody knows any more that it had some.
        gone = sum(each not in found and f"{each}#0" not in before.done for each in before.ids)
    return Job(
        asked=asked,
        run=run,
        source=asked.source,
        messages=messages,
        shots=shots[: asked.max],
        left=max(0, len(shots) - asked.max),
        gone=gone,
        seal=seal,
    )


def selected(asked: argparse.Namespace) -> Selection:
    """The filters of the command line; the mode has a default for each source."""
    status = None if asked.status == "any" else Standing(asked.status)
    repairing = asked.source == arguments.OUTBOX and status is None
    return Selection(
        mode=asked.mode or (Mode.RECOVER if repairing else Mode.ALL),
        since=asked.since,
        until=asked.until,
        ids=tuple(asked.id),
        tasks=tuple(asked.task),
        types=tuple(asked.type),
        status=status,
        code=asked.code,
        limit=asked.limit,
    )


@contextlib.asynccontextmanager
async def _door(source: str) -> AsyncIterator[Rest | None]:
    if source not in {arguments.OUTBOX, arguments.ROWS}:
        yield None
        return
    config = settings.load(DatabaseSettings)
    key = config.supabase_service_key.get_secret_value()
    async with Rest(url=config.supabase_url, key=key) as door:
        yield door


async def _read(source: str, door: Rest | None, selection: Selection) -> list[Message]:
    if door is None:
        return recording.read(Path(source))
    if source == arguments.OUTBOX:
        return await outbox.read(door, selection)
    return await rows.read(door, selection)


async def _seal(
    asked: argparse.Namespace,
    own: ReplaySettings,
    run: str,
    door: Rest | None,
    messages: Sequence[Message],
) -> Seal:
    given = asked.secret or (own.replay_secret and own.replay_secret.get_secret_value())
    try:
        secrets = (signatures.check_secret(given),) if given else ()
    except signatures.BadSecret as error:
        raise UsageError(str(error)) from error
    seal = Seal(
        run=run,
        signing=Signing.PRESERVE if asked.preserve else Signing(asked.sign),
        new_id=asked.new_id,
        secrets=secrets,
        extra=tuple(asked.header),
    )
    if seal.signing is not Signing.FRESH or secrets or door is None:
        return seal
    endpoints = {message.endpoint_id for message in messages if message.endpoint_id}
    by = {each: await outbox.secrets_of(door, each) for each in endpoints}
    return dataclasses.replace(seal, of_endpoints=by)
