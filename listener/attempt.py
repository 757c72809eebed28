"""One attempt, from claim to settlement."""

import asyncio
import datetime as dt
from dataclasses import dataclass
from typing import Any

from adapters import telemetry
from contracts import pipeline, prompts
from listener import errors, settle
from listener.deposit import deposit
from listener.fetch import fetch
from listener.lease import Lease
from listener.lease_store import Claim, LeaseStore
from listener.model_watch import ModelWatch
from listener.progress import Milestone, Progress
from listener.segment import Segmented, Segmenter
from listener.shielded import to_the_end
from listener.stopwatch import Stopwatch
from listener.task_objects import TaskObjects


log = telemetry.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What every attempt works with."""

    store: LeaseStore
    objects: TaskObjects
    segmenter: Segmenter
    model: ModelWatch
    lease_seconds: float
    renew_seconds: float
    deadline_seconds: float


async def attempt(claim: Claim, bench: Bench) -> None:
    """Work on *claim* and settle it. Raises only the caller's cancellation, after a release."""
    lease = Lease(
        claim,
        bench.store,
        lease_seconds=bench.lease_seconds,
        renew_seconds=bench.renew_seconds,
    )
    watch = Stopwatch(_queue_ms(claim, bench.lease_seconds))
    with telemetry.bound(task_id=str(claim.id), token=claim.token):
        try:
            outcome = await _outcome(claim, bench, lease, watch)
        except errors.LeaseLost as error:
            log.warning("lease_lost", at="work", reason=str(error), **watch.timings)
            return
        except asyncio.CancelledError:
            await _settle(claim, settle.Released(reason="draining"), bench, lease, watch)
            raise
        await _settle(claim, outcome, bench, lease, watch)


async def _outcome(claim: Claim, bench: Bench, lease: Lease, watch: Stopwatch) -> settle.Outcome:
    """How the work ended. Raises: LeaseLost."""
    try:
        return await _guarded_work(claim, bench, lease, watch)
    except errors.LeaseLost:
        raise
    except errors.PipelineGone as error:
        bench.model.gone()
        return settle.Released(reason=str(error))
    except errors.TaskFault as fault:
        return settle.Failed(code=fault.code, detail=str(fault))
    except Exception:  # whatever it is, the user gets an end and the other attempts go on
        log.exception("attempt_crashed")
        unforeseen = errors.Unforeseen()
        return settle.Failed(code=unforeseen.code, detail=str(unforeseen))


async def _guarded_work(
    claim: Claim, bench: Bench, lease: Lease, watch: Stopwatch
) -> settle.Completed:
    """The work, while the lease is kept and the deadline has not come."""
    progress = Progress(claim.token, bench.store)
    deadline = asyncio.timeout_at(claim.asked_at + bench.deadline_seconds)
    try:
        async with deadline:
            with errors.one_error():
                async with asyncio.TaskGroup() as beside:
                    side_tasks = [
                        beside.create_task(lease.keep()),
                        beside.create_task(progress.tell()),
                    ]
                    completed = await _work(claim, bench, progress, watch)
                    for task in side_tasks:
                        task.cancel()
    except TimeoutError:
        if deadline.expired():
            raise errors.DeadlineExceeded from None
        raise
    return completed


async def _work(
    claim: Claim, bench: Bench, progress: Progress, watch: Stopwatch
) -> settle.Completed:
    with watch.span("fetch"):
        image = await fetch(claim, bench.objects)
    progress.reach(Milestone.FETCHED)
    request = pipeline.PredictRequest(
        prompts=prompts.with_ids(claim.prompts), options=claim.options
    )
    progress.reach(Milestone.SENT)
    with watch.span("model"):
        segmented = await bench.segmenter.segment(image, request)
    progress.reach(Milestone.PREDICTED)
    with watch.span("store"):
        stored = await deposit(claim, segmented, bench.objects)
    progress.reach(Milestone.STORED)
    return settle.Completed(
        deposit=stored,
        instance_count=segmented.manifest.instance_count,
        summary=_summary(segmented, watch),
    )


async def _settle(
    claim: Claim, outcome: settle.Outcome, bench: Bench, lease: Lease, watch: Stopwatch
) -> None:
    await to_the_end(
        settle.settle(
            claim.token, outcome, bench.store, ends_at=lease.ends_at, timings=watch.timings
        )
    )


def _summary(segmented: Segmented, watch: Stopwatch) -> dict[str, Any]:
    """What a list of results shows without reading the manifest."""
    manifest = segmented.manifest
    return {
        "image": manifest.image.model_dump(),
        "model": manifest.model.model_dump(),
        "prompts": [
            {
                "id": prompt.id,
                "text": prompt.text,
                "instances": len(prompt.instances),
                "presence": round(prompt.presence, 4),
                "truncated": prompt.truncated,
            }
            for prompt in manifest.prompts
        ],
        "timings": dict(watch.timings),
        "pipeline": manifest.timings.model_dump(),
    }


def _queue_ms(claim: Claim, lease_seconds: float) -> float:
    """Milliseconds from insert to claim, both by the database's clock."""
    claimed_at = claim.lease_expires_at - dt.timedelta(seconds=lease_seconds)
    return (claimed_at - claim.created_at).total_seconds() * 1000
