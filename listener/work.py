"""The work of one attempt: fetch, segment, deposit."""

from typing import Any

from adapters import telemetry
from contracts import pipeline, prompts
from contracts.errors import ErrorCode
from listener import errors, settle
from listener.deposit import deposit
from listener.lease_store import Claim
from listener.progress import Milestone, Progress
from listener.ride import Ride
from listener.segment import Segmented, Segmenter
from listener.stopwatch import Stopwatch
from listener.task_objects import TaskObjects


log = telemetry.get_logger(__name__)


async def work(
    claim: Claim,
    ride: Ride,
    *,
    segmenter: Segmenter,
    objects: TaskObjects,
    progress: Progress,
    watch: Stopwatch,
) -> settle.Completed:
    """
    Do what *claim* asks for.

    Raises: TaskFault and its leaves, PipelineGone.
    """
    with watch.span("fetch"):
        image = await ride.picture(claim)
    progress.reach(Milestone.FETCHED)
    with watch.span("turn"):
        await ride.turn.acquire()
    try:
        progress.reach(Milestone.SENT)
        with watch.span("model"):
            segmented = await _segmented(claim, image, segmenter)
    finally:
        ride.turn.release()
    progress.reach(Milestone.PREDICTED)
    with watch.span("store"):
        stored = await deposit(claim, segmented, objects)
    progress.reach(Milestone.STORED)
    return settle.Completed(
        deposit=stored,
        instance_count=segmented.manifest.instance_count,
        summary=_summary(segmented, watch),
    )


async def _segmented(claim: Claim, image: bytes, segmenter: Segmenter) -> Segmented:
    """Ask the pipeline; when memory runs out, once more and frugally, in the same attempt."""
    request = pipeline.PredictRequest(
        prompts=prompts.with_ids(claim.prompts), options=claim.options, scope=str(claim.user_id)
    )
    try:
        return await segmenter.segment(image, request, name=str(claim.token))
    except errors.PipelineRefused as refusal:
        if refusal.code is not ErrorCode.OUT_OF_MEMORY:
            raise
        log.warning("out_of_memory", again="frugal")
    frugal = request.model_copy(update={"frugal": True})
    return await segmenter.segment(image, frugal, name=str(claim.token))


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
