"""One attempt at a task: what it holds, what it works with, and how far it is."""

import asyncio
import contextlib
import datetime as dt
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

from adapters import machine_auth, rest
from listener.errors import LeaseLost
from listener.lease_store import Claim, Lease, LeaseStore
from listener.pipeline_client import ModelWatch, PipelineClient
from listener.task_objects import TaskObjects
from runtime import logs
from s3_sam3.contracts import limits
from s3_sam3.contracts.tasks import Settlement


log = logs.get_logger(__name__)

_GAP_SECONDS: Final = 0.5
"""Least time between two reports; an attempt shorter than this reports nothing."""


class Milestone(float, Enum):
    """Shares of an attempt, roughly by time on a GPU."""

    CLAIMED = 0.0
    SENT = 0.1
    PREDICTED = 0.9
    STORED = 0.97


class Progress:
    """The latest milestone of one attempt, and the prompts that the model is done with."""

    def __init__(self, claim: Claim, store: LeaseStore, pipeline: PipelineClient) -> None:
        self.milestone = Milestone.CLAIMED
        self._token = claim.token
        self._prompts = len(claim.prompts)
        self._prompt_credits = limits.CREDITS_PER_PROMPT * claim.options.passes
        self._store = store
        self._pipeline = pipeline
        self._computed = 0
        self._moved = False

    def reach(self, milestone: Milestone) -> None:
        """Note the milestone; `tell` reports it later."""
        self.milestone = milestone
        if milestone is Milestone.PREDICTED:
            self._computed = self._prompts
        self._moved = True

    async def tell(self) -> None:
        """Report until cancelled. Raises: LeaseLost."""
        while True:
            await asyncio.sleep(_GAP_SECONDS)
            if self.milestone is Milestone.SENT:
                await self._look()
            if self._moved:
                self._moved = False
                await self._report()

    async def _look(self) -> None:
        """Ask the pipeline how many prompts it is done with."""
        computed = await self._pipeline.computed(str(self._token))
        # Not known, or less: the answer has come meanwhile.
        if computed is not None and computed > self._computed:
            self._computed = computed
            self._moved = True

    async def _report(self) -> None:
        try:
            answer = await self._store.report_progress(
                self._token, self._share(), self._computed * self._prompt_credits
            )
        except (rest.RestError, machine_auth.MachineAuthError) as error:
            # The next report says more than this one, and the renewal guards the lease.
            log.info("progress_not_reported", error=str(error))
            return
        if answer is Settlement.STALE:
            raise LeaseLost

    def _share(self) -> float:
        """From 0 to 1; while the model works, by the share of prompts."""
        if self.milestone is not Milestone.SENT:
            return float(self.milestone)
        sent, predicted = float(Milestone.SENT), float(Milestone.PREDICTED)
        return sent + (predicted - sent) * self._computed / self._prompts


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
