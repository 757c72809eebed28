"""From the command line to what is to be sent: messages, shots, and their seal."""

import argparse
import contextlib
import dataclasses
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from yarl import URL

from adapters import signatures
from adapters.rest import Rest
from webhooks.replay import arguments, leaving_out, outbox, sources
from webhooks.replay.checkpoint import Checkpoint
from webhooks.replay.errors import UsageError
from webhooks.replay.faults import Faults, Shot
from webhooks.replay.lanes import Order
from webhooks.replay.leaving_out import Why
from webhooks.replay.messages import Message
from webhooks.replay.plan import Plan, planned
from webhooks.replay.redaction import REDACTED
from webhooks.replay.sealing import Seal, Signing, preserved
from webhooks.replay.selection import Selection
from webhooks.replay.settings import ReplaySettings
from webhooks.replay.targets import checked, named


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
    left_out: Counter[Why]
    """Messages that were selected and are not sent, by why; of a resumed run those still due."""
    seal: Seal

    def url_of(self, shot: Shot) -> URL:
        """Where a shot goes. Raises: UsageError."""
        if self.asked.target:
            return checked(self.asked.target, self.asked.target_allow)
        if shot.message.url is None:
            msg = f"Nobody knows where {shot.message.id} went. Give --target."
            raise UsageError(msg)
        if REDACTED in shot.message.url:
            msg = f"The URL of {shot.message.id} was recorded without its secrets. Give --target."
            raise UsageError(msg)
        return named(shot.message.url, self.asked.target_allow)

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
            concurrency=self.asked.concurrency,
            order=Order(self.asked.order),
            forgotten=self.source == arguments.OUTBOX and not self.asked.record,
            left=self.left,
            gone=self.gone,
            left_out=self.left_out,
            url_of=self.url_of,
            signer_of=self.seal.signer,
        )


async def job_of(
    asked: argparse.Namespace, own: ReplaySettings, run: str, before: Checkpoint | None
) -> Job:
    """
    Read, choose and seal; *before* is the checkpoint of the run that goes on.

    Raises: UsageError, RestError, SettingsError.
    """
    # Of a run that goes on, what was planned counts, not what would be chosen by now.
    selection = sources.selected(asked) if before is None else Selection(ids=before.ids)
    seal = sealed(asked, own, run)
    async with contextlib.AsyncExitStack() as stack:
        door = await sources.door(stack) if asked.source in sources.OF_DATABASE else None
        found = await sources.read(asked.source, door, selection)
        chosen = dataclasses.replace(selection, limit=None).of(found)
        if door is None and asked.target is None and _needs_endpoints(seal, chosen):
            door = await sources.door(stack)
            chosen = await outbox.known(door, chosen)
        messages, out = leaving_out.parted(chosen, asked)
        messages = messages[: selection.limit]
        if door is not None and _needs_endpoints(seal, messages):
            seal = await _with_endpoints(seal, door, messages)
    shots = _faults(asked).shots(messages, run)
    done: Collection[str] = () if before is None else before.done
    shots = [shot for shot in shots if shot.name not in done]
    gone = 0
    if before is not None:
        there = {message.id for message in chosen}
        # Copies of a message that is gone are not counted: nobody knows any more that it had some.
        gone = sum(each not in there and f"{each}#0" not in done for each in before.ids)
    return Job(
        asked=asked,
        run=run,
        source=asked.source,
        messages=messages,
        shots=shots[: asked.max],
        left=max(0, len(shots) - asked.max),
        gone=gone,
        left_out=Counter(why for each, why in out if Shot(message=each).name not in done),
        seal=seal,
    )


def sealed(asked: argparse.Namespace, own: ReplaySettings, run: str) -> Seal:
    """
    How the shots are made, before anybody asked for the endpoints' own secrets.

    A secret of the environment is for what has no endpoint, and for a --target: it must not
    silently take the place of every customer's own. Raises: UsageError.
    """
    kept = own.replay_secret.get_secret_value() if own.replay_secret else None
    try:
        for each in (asked.secret, kept):
            if each:
                signatures.check_secret(each)
    except signatures.BadSecret as error:
        raise UsageError(str(error)) from error
    given, given_by = asked.secret, "--secret"
    if not given and asked.target:
        given, given_by = kept, "REPLAY_SECRET"
    return Seal(
        run=run,
        signing=Signing.PRESERVE if asked.preserve else Signing(asked.sign),
        new_id=asked.new_id,
        secret=given or None,
        given_by=given_by,
        otherwise=kept or None,
        extra=tuple(asked.header),
    )


def _needs_endpoints(seal: Seal, messages: Sequence[Message]) -> bool:
    """Whether messages are to be signed as their endpoints would have it."""
    return (
        seal.signing is Signing.FRESH
        and seal.secret is None
        and any(message.endpoint_id for message in messages)
    )


async def _with_endpoints(seal: Seal, door: Rest, messages: Sequence[Message]) -> Seal:
    endpoints = {message.endpoint_id for message in messages if message.endpoint_id}
    by = {each: await outbox.secrets_of(door, each) for each in endpoints}
    return dataclasses.replace(seal, of_endpoints=by)


def _faults(asked: argparse.Namespace) -> Faults:
    return Faults(
        dup=asked.dup,
        drop=asked.drop,
        truncate=asked.truncate,
        delay_seconds=asked.delay,
        shuffle=asked.shuffle,
    )
