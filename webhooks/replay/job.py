"""Reads and selects the messages, prepares their sends and signatures, and counts: the plan."""

import contextlib
import dataclasses
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, SecretStr
from yarl import URL

from adapters.rest import Rest
from runtime import settings
from s3_sam3 import recordings, signatures
from s3_sam3.messages import Message
from s3_sam3.recordings import REDACTED
from webhooks.replay import UsageError, database
from webhooks.replay.checkpoint import Checkpoint
from webhooks.replay.options import OUTBOX, Options
from webhooks.replay.selection import Exclusion, Selection, checked, exclude
from webhooks.replay.sending import Signer
from webhooks.replay.sends import Faults, Send, task_queues


class Plan(BaseModel):
    """Counts, and the least time that the run takes."""

    model_config = ConfigDict(frozen=True)

    run: str
    source: str
    messages: int
    sends: int
    """To be made now, duplicates included."""
    left: int
    """Sends over --max, for a resumed run."""
    by_type: dict[str, dict[str, int]]
    """Messages by type and by the state of their last attempt."""
    by_host: dict[str, int]
    by_signer: dict[str, int]
    """Messages by what signs them."""
    excluded: dict[Exclusion, int]
    """Messages that were selected and are not sent, by the reason."""
    gone: int
    """Messages of a resumed run that are no longer in the source."""
    first: datetime | None
    last: datetime | None
    seconds: float
    """At least, by the rate and the requested delays."""
    forgotten: bool
    """No file will know the outcome: the outbox is not told, and nothing is recorded."""

    @property
    def all_excluded(self) -> bool:
        """Whether there is something to send, and none of it may be sent."""
        return bool(self.excluded) and not self.sends


def planned(
    sends: Sequence[Send],
    options: Options,
    signer: Signer,
    url_of: Callable[[Send], URL],
    *,
    left: int,
    gone: int,
    excluded: Mapping[Exclusion, int],
) -> Plan:
    messages = {send.message.id: send.message for send in sends}.values()
    by_type: dict[str, Counter[str]] = {}
    for message in messages:
        by_type.setdefault(message.type, Counter())[message.state] += 1
    times = [message.created_at for message in messages]
    seconds = max(len(sends) / options.rate, _delays(sends, options, url_of))
    return Plan(
        run=signer.run,
        source=options.source,
        messages=len(messages),
        sends=len(sends),
        left=left,
        by_type={name: dict(counts) for name, counts in sorted(by_type.items())},
        by_host=dict(Counter(str(url_of(send).origin()) for send in sends)),
        by_signer=dict(Counter(signer.describe(message) for message in messages)),
        excluded=dict(excluded),
        gone=gone,
        first=min(times, default=None),
        last=max(times, default=None),
        seconds=round(seconds, 1),
        forgotten=options.source == OUTBOX and not options.record,
    )


def _delays(sends: Sequence[Send], options: Options, url_of: Callable[[Send], URL]) -> float:
    """Seconds of delay: --concurrency of them at once, one after the other in each queue."""
    queues = task_queues(sends, options.order, lambda send: str(url_of(send).origin()))
    sums = [sum(each.delay_seconds for each in queue.sends if not each.dropped) for queue in queues]
    return max(sum(sums) / options.concurrency, max(sums, default=0.0))


class ReplaySettings(settings.EnvironmentSettings):
    """A secret for messages that belong to no endpoint, and for --target."""

    replay_secret: SecretStr | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    options: Options
    messages: list[Message]
    sends: list[Send]
    left: int
    """Sends over --max."""
    gone: int
    """Messages of a resumed run that are no longer in the source."""
    excluded: Counter[Exclusion]
    """Messages that were selected and are not sent; of a resumed run those still due."""
    signer: Signer

    def url_of(self, send: Send) -> URL:
        if self.options.target:
            return checked(self.options.target, self.options.target_allow, typed=True)
        if send.message.url is None:
            msg = f"Nobody knows where {send.message.id} was sent. Give --target."
            raise UsageError(msg)
        if REDACTED in send.message.url:
            msg = f"The URL of {send.message.id} was recorded without its secrets. Give --target."
            raise UsageError(msg)
        return checked(send.message.url, self.options.target_allow, typed=False)

    @property
    def plan(self) -> Plan:
        """What it would do. Raises: UsageError, when a target or a signature is impossible."""
        for message in self.messages:
            self.signer.check(message)
        return planned(
            self.sends,
            self.options,
            self.signer,
            self.url_of,
            left=self.left,
            gone=self.gone,
            excluded=self.excluded,
        )


async def prepare(options: Options, run: str, before: Checkpoint | None) -> Job:
    """
    Read, select and prepare; *before* is the checkpoint of a resumed run.

    Raises: UsageError, RecordingError, RestError, SettingsError.
    """
    # A resumed run sends what was planned, not what would be selected now.
    selection = options.selection if before is None else Selection(ids=before.ids)
    signer = signer_of(options, run)
    async with contextlib.AsyncExitStack() as stack:
        rest = None
        if options.from_database:
            rest = await stack.enter_async_context(database.connected())
        found = await _read(options, rest, selection)
        selected = dataclasses.replace(selection, limit=None).of(found)
        if rest is None and not options.target and _needs_endpoints(signer, selected):
            rest = await stack.enter_async_context(database.connected())
            selected = await database.with_endpoints(rest, selected)
        messages, excluded = _excluded(options, selected)
        messages = messages[: selection.limit]
        if rest is not None and _needs_endpoints(signer, messages):
            signer = await _with_endpoint_secrets(signer, rest, messages)
    done: Collection[str] = () if before is None else before.done
    sends = [each for each in _faults(options).sends(messages, run) if each.name not in done]
    return Job(
        options=options,
        messages=messages,
        sends=sends[: options.max_sends],
        left=max(0, len(sends) - options.max_sends),
        gone=0 if before is None else _gone(before, selected),
        excluded=Counter(why for each, why in excluded if Send(message=each).name not in done),
        signer=signer,
    )


def signer_of(options: Options, run: str) -> Signer:
    """
    How the sends are signed, before the endpoints' own secrets are read.

    REPLAY_SECRET signs only what has no endpoint, or what goes to --target: it must not silently
    replace every user's own secret. Raises: UsageError, SettingsError.
    """
    environment = settings.load(ReplaySettings).replay_secret
    otherwise = environment.get_secret_value() if environment else None
    try:
        for each in (options.secret, otherwise):
            if each:
                signatures.check_secret(each)
    except signatures.BadSecret as error:
        raise UsageError(str(error)) from error
    secret, name = options.secret, "--secret"
    if not secret and options.target:
        secret, name = otherwise, "REPLAY_SECRET"
    return Signer(
        run=run,
        signing=options.sign,
        preserve=options.preserve,
        new_id=options.new_id,
        secret=secret or None,
        secret_option=name,
        otherwise=otherwise or None,
        extra_headers=options.headers,
    )


async def _read(options: Options, rest: Rest | None, selection: Selection) -> list[Message]:
    if rest is None:
        return recordings.read(Path(options.source))
    if options.source == OUTBOX:
        return await database.read_outbox(rest, selection)
    return await database.read_rows(rest, selection)


def _excluded(
    options: Options, messages: Sequence[Message]
) -> tuple[list[Message], list[tuple[Message, Exclusion]]]:
    if options.target:
        return list(messages), []
    return exclude(
        messages, allowed=options.target_allow, include_disabled=options.include_disabled
    )


def _needs_endpoints(signer: Signer, messages: Sequence[Message]) -> bool:
    """Whether messages are signed with their endpoints' own secrets."""
    return (
        signer.uses_secrets
        and signer.secret is None
        and any(message.endpoint_id for message in messages)
    )


async def _with_endpoint_secrets(signer: Signer, rest: Rest, messages: Sequence[Message]) -> Signer:
    endpoints = {message.endpoint_id for message in messages if message.endpoint_id}
    secrets = {each: await database.secrets_of(rest, each) for each in endpoints}
    return dataclasses.replace(signer, endpoint_secrets=secrets)


def _faults(options: Options) -> Faults:
    return Faults(
        dup=options.dup,
        drop=options.drop,
        truncate=options.truncate,
        delay_seconds=options.delay,
        shuffle=options.shuffle,
    )


def _gone(before: Checkpoint, selected: Sequence[Message]) -> int:
    """How many planned messages the source no longer has and no answer was good for."""
    there = {message.id for message in selected}
    # Duplicates of such a message are not counted: whether it had one is no longer known.
    return sum(each not in there and f"{each}#0" not in before.done for each in before.ids)
