"""One attempt, from claim to settlement."""

import asyncio
import datetime as dt
from dataclasses import dataclass

from listener import errors, settle
from listener.capabilities import Capabilities
from listener.lease import Lease
from listener.lease_store import Claim, LeaseStore
from listener.model_watch import ModelWatch
from listener.progress import Progress
from listener.ride import Ride
from listener.segment import Segmenter
from listener.shielded import to_the_end
from listener.stopwatch import Stopwatch
from listener.task_objects import TaskObjects
from listener.work import work
from runtime import logs
from s3_sam3.contracts.tasks import ReleaseReason


log = logs.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What every attempt works with."""

    store: LeaseStore
    objects: TaskObjects
    segmenter: Segmenter
    model: ModelWatch
    capabilities: Capabilities
    lease_seconds: float
    renew_seconds: float
    deadline_seconds: float


async def attempt_together(claims: list[Claim], bench: Bench) -> None:
    """
    Work on claims of one picture, each with its own lease and its own end.

    Raises only the caller's cancellation, after all are released.
    """
    ride = Ride(bench.objects)
    try:
        async with asyncio.TaskGroup() as riders:
            for claim in claims:
                riders.create_task(attempt(claim, bench, ride))
    finally:
        await ride.close()


async def attempt(claim: Claim, bench: Bench, ride: Ride) -> None:
    """Work on *claim* and settle it. Raises only the caller's cancellation, after a release."""
    lease = Lease(
        claim,
        bench.store,
        lease_seconds=bench.lease_seconds,
        renew_seconds=bench.renew_seconds,
    )
    watch = Stopwatch(_queue_ms(claim, bench.lease_seconds))
    with logs.bound(task_id=str(claim.id), token=claim.token):
        try:
            outcome = await _outcome(claim, bench, ride, lease, watch)
        except errors.LeaseLost as error:
            log.warning("lease_lost", at="work", reason=str(error), **watch.timings)
            return
        except asyncio.CancelledError:
            drained = settle.Released(reason=ReleaseReason.STOPPING, detail="draining")
            await _settle(claim, drained, bench, lease, watch)
            raise
        await _settle(claim, outcome, bench, lease, watch)


async def _outcome(
    claim: Claim, bench: Bench, ride: Ride, lease: Lease, watch: Stopwatch
) -> settle.Outcome:
    """How the work ended. Raises: LeaseLost."""
    try:
        return await _guarded_work(claim, bench, ride, lease, watch)
    except errors.LeaseLost:
        raise
    except errors.TurnNeverCame as error:
        return settle.Released(reason=ReleaseReason.UNABLE, detail=str(error))
    except errors.PipelineGone as error:
        bench.model.gone()
        return settle.Released(reason=ReleaseReason.UNABLE, detail=str(error))
    except errors.TaskFault as fault:
        return settle.Failed(code=fault.code, detail=str(fault))
    except Exception:  # whatever it is, the user gets an end and the other attempts go on
        log.exception("attempt_crashed")
        unforeseen = errors.Unforeseen()
        return settle.Failed(code=unforeseen.code, detail=str(unforeseen))


async def _guarded_work(
    claim: Claim, bench: Bench, ride: Ride, lease: Lease, watch: Stopwatch
) -> settle.Completed:
    """The work, while the lease is kept and the deadline has not come."""
    progress = Progress(claim, bench.store, bench.segmenter)
    ends_at = claim.asked_at + bench.deadline_seconds
    deadline = asyncio.timeout_at(ends_at)
    try:
        async with deadline:
            with errors.one_error():
                async with asyncio.TaskGroup() as beside:
                    side_tasks = [
                        beside.create_task(lease.keep()),
                        beside.create_task(progress.tell()),
                    ]
                    completed = await work(
                        claim,
                        ride,
                        ends_at=ends_at,
                        segmenter=bench.segmenter,
                        objects=bench.objects,
                        progress=progress,
                        watch=watch,
                    )
                    for task in side_tasks:
                        task.cancel()
    except TimeoutError:
        if deadline.expired():
            raise errors.DeadlineExceeded from None
        raise
    return completed


async def _settle(
    claim: Claim, outcome: settle.Outcome, bench: Bench, lease: Lease, watch: Stopwatch
) -> None:
    await to_the_end(
        settle.settle(
            claim.token, outcome, bench.store, ends_at=lease.ends_at, timings=watch.timings
        )
    )


def _queue_ms(claim: Claim, lease_seconds: float) -> float:
    """Milliseconds from insert to claim, both by the database's clock."""
    claimed_at = claim.lease_expires_at - dt.timedelta(seconds=lease_seconds)
    return (claimed_at - claim.created_at).total_seconds() * 1000
