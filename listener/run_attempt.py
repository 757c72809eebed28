"""One attempt from claim to settlement; the one place that catches every error."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from listener import errors, settle
from listener.attempt import Attempt
from listener.work import work
from runtime import logs
from s3_sam3.contracts.tasks import ReleaseReason


log = logs.get_logger(__name__)


async def run(attempt: Attempt) -> None:
    """Do the task and settle it. Raises only the caller's cancellation, after a release."""
    claim = attempt.claim
    with logs.bound(task_id=str(claim.id), token=claim.token):
        try:
            outcome = await _outcome(attempt)
        except errors.LeaseLost as error:
            log.warning("lease_lost", at="work", reason=str(error), **attempt.timings)
            return
        except asyncio.CancelledError:
            drained = settle.Released(reason=ReleaseReason.STOPPING, detail="draining")
            await to_the_end(settle.settle(attempt, drained))
            raise
        await to_the_end(settle.settle(attempt, outcome))


async def to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """
    Run *work* to its end, however often the caller is cancelled meanwhile.

    The cancellation is raised afterwards. *work* must end by itself.
    """
    task = asyncio.get_running_loop().create_task(work)
    cancellation: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancellation = error
    if cancellation is not None:
        raise cancellation
    task.result()


async def _outcome(attempt: Attempt) -> settle.Outcome:
    """Raises: LeaseLost."""
    try:
        return await _work_within_bounds(attempt)
    except errors.LeaseLost:
        raise
    except errors.PipelineGone as error:
        attempt.context.model.gone()
        return settle.Released(reason=ReleaseReason.UNABLE, detail=str(error))
    except errors.TaskFault as fault:
        return settle.Failed(code=fault.code, detail=str(fault))
    except Exception:  # the task must end, and the other attempts go on
        log.exception("attempt_crashed")
        unforeseen = errors.Unforeseen()
        return settle.Failed(code=unforeseen.code, detail=str(unforeseen))


async def _work_within_bounds(attempt: Attempt) -> settle.Completed:
    """Work while the lease is kept and the deadline has not come."""
    deadline = asyncio.timeout_at(attempt.ends_at)
    try:
        async with deadline:
            with errors.one_error():
                async with asyncio.TaskGroup() as group:
                    beside = [
                        group.create_task(attempt.lease.keep()),
                        group.create_task(attempt.progress.tell()),
                    ]
                    completed = await work(attempt)
                    for task in beside:
                        task.cancel()
    except TimeoutError:
        if deadline.expired():
            raise errors.DeadlineExceeded from None
        raise
    return completed
