"""Listeners that tests start, in this process or as processes; claims and attempts for them."""

import asyncio
import contextlib
import datetime as dt
import json
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, cast

from adapters.machine_auth import ServiceKey
from adapters.rest import Rest
from listener.attempt import Attempt, WorkerContext
from listener.lease_store import AttemptTimes, Claim, LeaseStore
from listener.worker import Worker
from s3_sam3.contracts.prompts import Prompt, SegmentOptions
from s3_sam3.contracts.tasks import MediaKind


QUICK_LEASE = {"lease_seconds": 2, "renew_seconds": 0.5}
"""For `listening` and `spawn`."""

Environment = Callable[..., dict[str, str]]
"""`environment(LISTENER_…=…)`: the environment of a listener, with overrides."""

Listening = Callable[..., contextlib.AbstractAsyncContextManager[Worker]]
"""
`async with listening(LISTENER_…=…) as worker`: a listener in this process.

Names in lower case are parameters of `listener.worker.built`; so they are for `Spawn`.
"""


@dataclass(kw_only=True)
class ListenerProcess:
    """`python -m listener`, and what it logged."""

    process: asyncio.subprocess.Process
    lines: list[dict[str, Any]] = field(default_factory=list)
    other: list[str] = field(default_factory=list)

    async def read(self) -> None:
        """Read the log until the process ends."""
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            try:
                self.lines.append(json.loads(line))
            except ValueError:
                self.other.append(line.decode())

    def said(self, event: str) -> list[dict[str, Any]]:
        """Lines of that event."""
        return [line for line in self.lines if line.get("event") == event]


Spawn = Callable[..., Awaitable[ListenerProcess]]
"""`await spawn(LISTENER_…=…)`: a listener process, killed at the end."""


USER = uuid.uuid4()


def claimed(
    token: int = 1,
    *,
    asked_at: float = 0,
    picture: str = "one",
    user: uuid.UUID = USER,
    prompts: tuple[Prompt, ...] = (Prompt(text="a dog"),),
) -> Claim:
    """A claim as `claim_tasks` answers it."""
    now = dt.datetime.now(dt.UTC)
    return Claim(
        id=uuid.uuid4(),
        token=token,
        user_id=user,
        source_image_url=picture,
        kind=MediaKind.IMAGE,
        prompts=prompts,
        options=SegmentOptions(),
        attempt_count=1,
        created_at=now,
        lease_expires_at=now,
        asked_at=asked_at,
    )


def lease_store(database: Rest, **times: int) -> LeaseStore:
    """A lease store over *database*, for a worker called `test`."""
    return LeaseStore(database, ServiceKey(key="key"), worker="test", times=AttemptTimes(**times))


def attempt_of(claim: Claim, store: LeaseStore) -> Attempt:
    """An attempt that can be renewed and settled, but not worked on."""
    nothing = cast("Any", None)
    context = WorkerContext(store=store, objects=nothing, pipeline=nothing, model=nothing)
    return Attempt(claim, context)
