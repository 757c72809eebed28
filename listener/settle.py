"""The end of an attempt: complete, fail or release; sent again until the lease ends."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, assert_never

import tenacity

from adapters import machine_auth, rest
from listener.deposit import Deposit
from listener.lease_store import LeaseStore
from runtime import logs
from s3_sam3.contracts.errors import ErrorCode
from s3_sam3.contracts.tasks import ReleaseReason, Settlement


log = logs.get_logger(__name__)

_NO_ANSWER: Final = (rest.RestUnavailable, machine_auth.AuthUnavailable, TimeoutError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """The result lies in the store."""

    deposit: Deposit
    instance_count: int
    summary: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The attempt failed; the database decides about a retry."""

    code: ErrorCode
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """The task goes back unharmed."""

    reason: ReleaseReason
    detail: str


Outcome = Completed | Failed | Released


async def settle(
    token: int,
    outcome: Outcome,
    store: LeaseStore,
    *,
    ends_at: float,
    timings: dict[str, float],
) -> None:
    """
    Tell the database how the attempt ended, and the log.

    Sending the same settlement again is harmless (`duplicate`). When the lease ends first, or the
    database refuses, the attempt stays open and the reaper ends it.
    """
    loop = asyncio.get_running_loop()
    began_at = loop.time()
    try:
        answer = await _insist(token, outcome, store, ends_at, timings)
    except (rest.RestError, machine_auth.MachineAuthError, TimeoutError) as error:
        log.warning("settlement_lost", outcome=type(outcome).__name__, error=repr(error))
        return
    timings["settle_ms"] = round((loop.time() - began_at) * 1000, 1)
    _tell(outcome, answer, timings)


async def _insist(
    token: int,
    outcome: Outcome,
    store: LeaseStore,
    ends_at: float,
    timings: Mapping[str, float],
) -> Settlement:
    loop = asyncio.get_running_loop()
    # At least one try, even with the lease at its end: the fence makes a late one harmless.
    async with asyncio.timeout_at(max(ends_at, loop.time() + 2.0)):
        async for attempt in tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(_NO_ANSWER),
            wait=tenacity.wait_random_exponential(multiplier=0.2, max=2.0),
            reraise=True,
        ):
            with attempt:
                return await _send(token, outcome, store, timings)
    raise AssertionError  # tenacity returns or raises


async def _send(
    token: int, outcome: Outcome, store: LeaseStore, timings: Mapping[str, float]
) -> Settlement:
    match outcome:
        case Completed(deposit=deposit):
            return await store.complete(
                token,
                p_manifest_url=deposit.manifest_url,
                p_mask_image_url=deposit.mask_image_url,
                p_overlay_image_url=deposit.overlay_image_url,
                p_instance_count=outcome.instance_count,
                p_summary=dict(outcome.summary),
                p_timings=dict(timings),
            )
        case Failed(code=code, detail=detail):
            return await store.fail(token, code, detail)
        case Released(reason=reason):
            return await store.release(token, reason)
        case _:
            assert_never(outcome)


def _tell(outcome: Outcome, answer: Settlement, timings: Mapping[str, float]) -> None:
    if answer is Settlement.STALE:
        log.warning("lease_lost", at="settlement", outcome=type(outcome).__name__)
        return
    match outcome:
        case Completed():
            log.info("task_done", instances=outcome.instance_count, **timings)
        case Failed(code=code, detail=detail):
            log.warning("task_failed", code=code.value, detail=detail, **timings)
        case Released(reason=reason, detail=detail):
            log.info("task_released", reason=reason.value, detail=detail, **timings)
        case _:
            assert_never(outcome)
