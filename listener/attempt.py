"""One attempt at a task: what it holds and what it works with."""

import asyncio
import contextlib
import datetime as dt
import time
from collections.abc import Iterator
from dataclasses import dataclass

from listener.lease import Lease
from listener.lease_store import Claim, LeaseStore
from listener.model_watch import ModelWatch
from listener.pipeline_client import PipelineClient
from listener.progress import Progress
from listener.task_objects import TaskObjects


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerContext:
    """What all attempts of one worker share."""

    store: LeaseStore
    objects: TaskObjects
    pipeline: PipelineClient
    model: ModelWatch


class Attempt:
    """A claim with its lease, progress, deadline and timings."""

    def __init__(self, claim: Claim, context: WorkerContext) -> None:
        self.claim = claim
        self.context = context
        self.lease = Lease(claim, context.store)
        self.progress = Progress(claim, context.store, context.pipeline)
        self.ends_at = claim.asked_at + context.store.times.deadline
        """Loop time of the hard deadline."""
        self.timings = {"queue_ms": self._queue_ms()}
        """Milliseconds by name: `queue_ms`, `fetch_ms`, `model_ms`, `store_ms`, `settle_ms`."""

    @property
    def seconds_left(self) -> float:
        """Until the deadline; negative after it."""
        return self.ends_at - asyncio.get_running_loop().time()

    @contextlib.contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Measure the block as *step*`_ms`, also when it fails."""
        began_at = time.perf_counter()
        try:
            yield
        finally:
            self.timings[f"{step}_ms"] = round((time.perf_counter() - began_at) * 1000, 1)

    def _queue_ms(self) -> float:
        """From insert to claim, both by the database's clock."""
        lease = dt.timedelta(seconds=self.context.store.times.lease)
        waited = self.claim.lease_expires_at - lease - self.claim.created_at
        return round(waited.total_seconds() * 1000, 1)
