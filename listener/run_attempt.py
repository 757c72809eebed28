"""
One attempt from claim to settlement: read the picture, ask the pipeline, store what it found.

`run` is the one place that catches every error.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

from adapters import objects
from listener import errors, settle
from listener.attempt import Attempt, Milestone
from listener.pipeline_client import ManifestHead, Segmented
from runtime import logs
from s3_sam3.contracts import object_keys, pipeline, prompts
from s3_sam3.contracts.errors import ErrorCode
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


_MODEL_SHARE: Final = 0.95
"""Share of the time left that the pipeline may take; the rest is for storing its answer."""

_LEAST_SECONDS: Final = 0.001


async def work(attempt: Attempt) -> settle.Completed:
    """
    Do what the claim asks for. The caller bounds the time and keeps the lease.

    Raises: TaskFault and its leaves, PipelineGone.
    """
    with attempt.timed("fetch"):
        picture = await _fetch(attempt)
    attempt.progress.reach(Milestone.SENT)
    with attempt.timed("model"):
        segmented = await _segment(attempt, picture)
    attempt.progress.reach(Milestone.PREDICTED)
    with attempt.timed("store"):
        keys = await _store(attempt, segmented)
    attempt.progress.reach(Milestone.STORED)
    return settle.Completed(
        keys=keys,
        instance_count=segmented.head.instance_count,
        summary=_summary(segmented.head, attempt.timings),
    )


async def _fetch(attempt: Attempt) -> bytes:
    """Raises: SourceNotFound, StorageUnavailable, PipelineRefused (the picture is too large)."""
    try:
        return await attempt.context.objects.read_source(attempt.claim)
    except objects.ObjectNotFound as error:
        raise errors.SourceNotFound from error
    except objects.ObjectTooLarge as error:
        raise errors.PipelineRefused(ErrorCode.FILE_TOO_LARGE, "too many bytes") from error
    except objects.ObjectError as error:
        raise errors.StorageUnavailable(f"could not read: {error}") from error


async def _segment(attempt: Attempt, picture: bytes) -> Segmented:
    """Ask the pipeline; when its memory runs out, once more and frugally."""
    name = str(attempt.claim.token)
    client = attempt.context.pipeline
    try:
        return await client.segment(picture, _request(attempt), name=name)
    except errors.PipelineRefused as refusal:
        if refusal.code is not ErrorCode.OUT_OF_MEMORY:
            raise
        log.warning("out_of_memory", again="frugal")
    return await client.segment(picture, _request(attempt, frugal=True), name=name)


def _request(attempt: Attempt, *, frugal: bool = False) -> pipeline.PredictRequest:
    """
    Build the request with less time than the attempt has.

    The pipeline then gives up by itself and is free for the next task.
    """
    claim = attempt.claim
    return pipeline.PredictRequest(
        prompts=prompts.with_ids(claim.prompts),
        options=claim.options,
        scope=str(claim.user_id),
        frugal=frugal,
        seconds=max(attempt.seconds_left * _MODEL_SHARE, _LEAST_SECONDS),
    )


async def _store(attempt: Attempt, segmented: Segmented) -> dict[str, str]:
    """Write the result under the claim's token, so that only settling makes it visible."""
    files = {
        object_keys.MASK: segmented.mask_png,
        object_keys.OVERLAY: segmented.overlay_webp,
        object_keys.MANIFEST: segmented.manifest_json,
    }
    try:
        return await attempt.context.objects.write_results(attempt.claim, files)
    except objects.ObjectError as error:
        raise errors.StorageUnavailable(f"could not write: {error}") from error


def _summary(head: ManifestHead, timings: dict[str, float]) -> dict[str, Any]:
    """What a list of results shows without reading the manifest."""
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
        "timings": dict(timings),
        "pipeline": head.timings.model_dump(),
    }
