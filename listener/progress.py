"""How far an attempt is, reported beside the work."""

import asyncio
from enum import Enum
from typing import Final

from adapters import machine_auth, rest
from listener.errors import LeaseLost
from listener.lease_store import Claim, LeaseStore
from listener.pipeline_client import PipelineClient
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
