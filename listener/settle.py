"""The end of an attempt: complete, fail or release; sent again until the lease ends."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, assert_never

from adapters import machine_auth, rest
from adapters.retrying import retrying
from listener.attempt import Attempt
from runtime import logs
from s3_sam3.contracts import object_keys
from s3_sam3.contracts.errors import ErrorCode
from s3_sam3.contracts.tasks import ReleaseReason, Settlement


log = logs.get_logger(__name__)

_NO_ANSWER: Final = (rest.RestUnavailable, machine_auth.AuthUnavailable, TimeoutError)

_LEAST_SECONDS: Final = 2.0
"""For at least one try, even with the lease at its end: the fence makes a late one harmless."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """The result is in the object store."""

    keys: Mapping[str, str]
    """File name -> key."""
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


async def settle(attempt: Attempt, outcome: Outcome) -> None:
    """
    Tell the database and the log how the attempt ended.

    Sending the same settlement again is harmless (`duplicate`). When the lease ends first, or the
    database refuses, the attempt stays open and the reaper ends it.
    """
    now = asyncio.get_running_loop().time()
    again = retrying(lambda error: isinstance(error, _NO_ANSWER), attempts=None, longest=2.0)
    try:
        with attempt.timed("settle"):
            async with asyncio.timeout_at(max(attempt.lease.ends_at, now + _LEAST_SECONDS)):
                answer: Settlement = await again(_send, attempt, outcome)
    except (rest.RestError, machine_auth.MachineAuthError, TimeoutError) as error:
        log.warning("settlement_lost", outcome=type(outcome).__name__, error=repr(error))
        return
    _tell(outcome, answer, attempt.timings)


async def _send(attempt: Attempt, outcome: Outcome) -> Settlement:
    store, token = attempt.context.store, attempt.claim.token
    match outcome:
        case Completed(keys=keys):
            return await store.complete(
                token,
                p_manifest_url=keys[object_keys.MANIFEST],
                p_mask_image_url=keys[object_keys.MASK],
                p_overlay_image_url=keys[object_keys.OVERLAY],
                p_instance_count=outcome.instance_count,
                p_summary=dict(outcome.summary),
                p_timings=dict(attempt.timings),
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
