"""The work of one attempt: fetch, segment, deposit."""

import asyncio
from typing import Any, Final

from listener import errors, settle
from listener.deposit import deposit
from listener.lease_store import Claim
from listener.progress import Milestone, Progress
from listener.ride import Ride
from listener.segment import Segmented, Segmenter
from listener.stopwatch import Stopwatch
from listener.task_objects import TaskObjects
from runtime import logs
from s3_sam3.contracts import pipeline, prompts
from s3_sam3.contracts.errors import ErrorCode


log = logs.get_logger(__name__)

_MODEL_SHARE: Final = 0.95
"""Of the time left, what the pipeline may take; the rest is for its answer and for storing it."""

_LEAST_SECONDS: Final = 0.001

_TURN_SHARE: Final = 0.5
"""Of the time left, how long a rider stands in line; a turn with less left would be none."""


async def work(
    claim: Claim,
    ride: Ride,
    *,
    ends_at: float,
    segmenter: Segmenter,
    objects: TaskObjects,
    progress: Progress,
    watch: Stopwatch,
) -> settle.Completed:
    """
    Do what *claim* asks for, by the loop time *ends_at*. The caller bounds the time all the same.

    Raises: TaskFault and its leaves, PipelineGone, TurnNeverCame.
    """
    with watch.span("fetch"):
        image = await ride.picture(claim)
    progress.reach(Milestone.FETCHED)
    with watch.span("turn"):
        await _take_turn(ride, ends_at)
    try:
        progress.reach(Milestone.SENT)
        with watch.span("model"):
            segmented = await _segmented(claim, image, segmenter, ends_at)
    finally:
        ride.turn.release()
    progress.reach(Milestone.PREDICTED)
    with watch.span("store"):
        stored = await deposit(claim, segmented, objects)
    progress.reach(Milestone.STORED)
    return settle.Completed(
        deposit=stored,
        instance_count=segmented.head.instance_count,
        summary=_summary(segmented, watch),
    )


async def _take_turn(ride: Ride, ends_at: float) -> None:
    """Wait for the place at the pipeline. Raises: TurnNeverCame."""
    now = asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout_at(now + (ends_at - now) * _TURN_SHARE):
            await ride.turn.acquire()
    except TimeoutError:
        raise errors.TurnNeverCame from None


async def _segmented(claim: Claim, image: bytes, segmenter: Segmenter, ends_at: float) -> Segmented:
    """Ask the pipeline; when memory runs out, once more and frugally, in the same attempt."""
    name = str(claim.token)
    try:
        return await segmenter.segment(image, _request(claim, ends_at), name=name)
    except errors.PipelineRefused as refusal:
        if refusal.code is not ErrorCode.OUT_OF_MEMORY:
            raise
        log.warning("out_of_memory", again="frugal")
    return await segmenter.segment(image, _request(claim, ends_at, frugal=True), name=name)


def _request(claim: Claim, ends_at: float, *, frugal: bool = False) -> pipeline.PredictRequest:
    """
    What to ask now, so that the pipeline gives up by itself before the attempt is over.

    A model that nobody waits for any more would hold up whoever is next.
    """
    left = ends_at - asyncio.get_running_loop().time()
    return pipeline.PredictRequest(
        prompts=prompts.with_ids(claim.prompts),
        options=claim.options,
        scope=str(claim.user_id),
        frugal=frugal,
        seconds=max(left * _MODEL_SHARE, _LEAST_SECONDS),
    )


def _summary(segmented: Segmented, watch: Stopwatch) -> dict[str, Any]:
    """What a list of results shows without reading the manifest."""
    head = segmented.head
    return {
        "image": head.image.model_dump(),
        "model": head.model.model_dump(),
        "prompts": [
            {
                "id": prompt.id,
                "text": prompt.text,
                "instances": len(prompt.instances),
                "presence": round(prompt.presence, 4),
                "truncated": prompt.truncated,
            }
            for prompt in head.prompts
        ],
        "timings": dict(watch.timings),
        "pipeline": head.timings.model_dump(),
    }
