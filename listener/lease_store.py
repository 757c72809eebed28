"""The seven SQL functions that a machine may call, and the lease of one claim."""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError

from adapters import machine_auth, rest
from listener.errors import LeaseLost
from runtime import logs
from s3_sam3.contracts.errors import ErrorCode
from s3_sam3.contracts.prompts import Prompt, SegmentOptions
from s3_sam3.contracts.tasks import MediaKind, ReleaseReason, Settlement


log = logs.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptTimes:
    """How long an attempt may be silent, and how long it may take; in seconds."""

    lease: int = 30
    renew: float = 2.0
    """Pause between two renewals. A cancelled task is let go at the next one."""
    deadline: int = 300


class Claim(BaseModel):
    """A claimed task: one row of `claim_tasks`. Its token is the lease and the fence."""

    model_config = ConfigDict(frozen=True)

    id: UUID
    token: int
    user_id: UUID
    source_image_url: str
    kind: MediaKind
    prompts: tuple[Prompt, ...]
    options: SegmentOptions
    attempt_count: int
    created_at: datetime
    lease_expires_at: datetime
    asked_at: float
    """Loop time before the claim was sent, from which the lease surely lasts its seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """What one look at the queue brought."""

    count: int
    """Tasks, also those that could not be read."""
    claims: list[Claim]


class LeaseStore:
    """Calls the worker functions with the machine's token."""

    def __init__(
        self,
        database: rest.Rest,
        tokens: machine_auth.MachineTokens,
        *,
        worker: str,
        times: AttemptTimes,
    ) -> None:
        self.times = times
        self._database = database
        self._tokens = tokens
        self._worker = worker

    async def claim(self, limit: int, capabilities: Mapping[str, Any]) -> Claimed:
        """Take up to *limit* due tasks, of those that *capabilities* can do."""
        asked_at = asyncio.get_running_loop().time()
        rows = await self._call(
            "claim_tasks",
            p_worker=self._worker,
            p_limit=limit,
            p_lease_seconds=self.times.lease,
            p_deadline_seconds=self.times.deadline,
            p_capabilities=dict(capabilities),
        )
        read = [await self._read({**row, "asked_at": asked_at}) for row in rows or []]
        return Claimed(count=len(read), claims=[claim for claim in read if claim is not None])

    async def renew(self, token: int) -> Settlement:
        """Push the lease's end forward."""
        return await self._settlement(
            "renew_lease", p_token=token, p_lease_seconds=self.times.lease
        )

    async def report_progress(self, token: int, share: float, computed: int) -> Settlement:
        """Say how far the attempt is, 0 to 1, and how many credits' worth is computed."""
        return await self._settlement(
            "report_progress", p_token=token, p_progress=share, p_computed=computed
        )

    async def complete(self, token: int, **result: Any) -> Settlement:
        """Finish the task; *result* holds the other parameters of `complete_task`."""
        return await self._settlement("complete_task", p_token=token, **result)

    async def fail(self, token: int, code: ErrorCode, detail: str) -> Settlement:
        """End the attempt with an error; the database decides about a retry."""
        return await self._settlement(
            "fail_task", p_token=token, p_error_code=code.value, p_detail=detail[:500]
        )

    async def release(self, token: int, reason: ReleaseReason) -> Settlement:
        """Give the task back; the attempt is not counted, unless it was *unable* ten times."""
        return await self._settlement("release_task", p_token=token, p_reason=reason.value)

    async def reap(self) -> int:
        """End the attempts of silent workers; answers how many there were."""
        return int(await self._call("reap_tasks"))

    async def _settlement(self, function: str, **params: Any) -> Settlement:
        return Settlement(await self._call(function, **params))

    async def _call(self, function: str, **params: Any) -> Any:
        return await machine_auth.with_token(
            self._tokens, lambda token: self._database.rpc(function, params, token)
        )

    async def _read(self, row: dict[str, Any]) -> Claim | None:
        try:
            return Claim.model_validate(row)
        except ValidationError as error:
            # A newer API may ask for what this worker cannot read; another worker may.
            log.warning("claim_unreadable", task_id=row.get("id"), fields=error.error_count())
            await self._give_up(row["token"])
            return None

    async def _give_up(self, token: int) -> None:
        """Fail what cannot be read. If that call is lost too, the reaper ends the attempt."""
        try:
            await self.fail(token, ErrorCode.INTERNAL, "the worker could not read the task")
        except (rest.RestError, machine_auth.MachineAuthError) as error:
            log.warning("settlement_lost", token=token, outcome="Failed", error=repr(error))


_RANDOM: Final = random.SystemRandom()

SURE_SHARE: Final = 0.8
"""Share of a lease that a renewal leaves at least: the database writes only when less is left."""

_RETRY_SECONDS: Final = 1.0
"""Pause after a renewal that got no answer."""


class Lease:
    """One claim's lease by this host's own clock, counted from before each request."""

    def __init__(self, claim: Claim, store: LeaseStore) -> None:
        self._token = claim.token
        self._store = store
        self.ends_at = claim.asked_at + store.times.lease
        """Loop time until which the lease surely holds, if nobody takes it away."""

    async def keep(self) -> None:
        """Renew until cancelled. Raises: LeaseLost."""
        regular = pause = self._store.times.renew
        while True:
            # Jitter, so that many workers do not renew at once; only earlier, never later.
            await asyncio.sleep(pause * _RANDOM.uniform(0.8, 1.0))
            pause = regular if await self._renew() else _RETRY_SECONDS

    async def _renew(self) -> bool:
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        try:
            async with asyncio.timeout_at(max(self.ends_at, asked_at)):
                answer = await self._store.renew(self._token)
        except (rest.RestError, machine_auth.MachineAuthError, TimeoutError) as error:
            if loop.time() + _RETRY_SECONDS >= self.ends_at:
                raise LeaseLost("the lease ended before it could be renewed") from error
            log.warning("lease_not_renewed", error=str(error))
            return False
        if answer is Settlement.STALE:
            raise LeaseLost
        # The `ok` of an early renewal wrote nothing, so the end known before still holds.
        self.ends_at = max(self.ends_at, asked_at + self._store.times.lease * SURE_SHARE)
        return True
