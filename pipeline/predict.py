"""One picture's way: decode, find, outline, draw, and the manifest over all of it."""

from collections.abc import Callable
from time import perf_counter
from typing import TypeVar

from PIL import Image

from contracts.manifest import ImageSize, Manifest, PromptResult, Timings
from contracts.pipeline import PredictAnswer, PredictRequest
from masks.label_map import label_map, mask_png
from masks.overlay import overlay_webp
from pipeline.decode import decode
from pipeline.errand import Errand
from pipeline.errors import OutOfMemory
from pipeline.lane import Lane
from pipeline.segmenter import Segmenter


Result = TypeVar("Result")


async def predict(
    lane: Lane, segmenter: Segmenter, data: bytes, request: PredictRequest, errand: Errand
) -> PredictAnswer:
    """
    Segment the picture in *data*. Cancelled, it ends the model's work at the next prompt.

    Raises:
        Refused: picture or prompts are at fault.
        OutOfMemory: it did not fit.
        ModelFailed: the model raised.
        ModelDied: the GPU is lost.

    """
    try:
        return await _predict(lane, segmenter, data, request, errand)
    except MemoryError as error:  # of the side threads; the model's own are translated there
        raise OutOfMemory from error
    finally:
        errand.abandon()


async def _predict(
    lane: Lane, segmenter: Segmenter, data: bytes, request: PredictRequest, errand: Errand
) -> PredictAnswer:
    """Do what `predict` says."""
    started = perf_counter()
    options = request.options

    def opened() -> tuple[Image.Image, object]:
        """Decode and prepare."""
        picture = decode(data)
        return picture, segmenter.prepare(picture, request.prompts, errand)

    (picture, prepared), decode_ms = await lane.beside(_timed(opened))
    found, model_ms = await lane.in_model(_timed(lambda: segmenter.find(prepared, options, errand)))

    def finished() -> tuple[tuple[PromptResult, ...], bytes, bytes]:
        """Outline and draw."""
        results = segmenter.trace(found, options, errand)
        labels = label_map(results, picture.width, picture.height)
        overlay = overlay_webp(picture, labels, results, demo=segmenter.info.demo)
        return results, mask_png(labels), overlay

    (results, mask, overlay), post_ms = await lane.beside(_timed(finished))
    manifest = Manifest(
        image=ImageSize(width=picture.width, height=picture.height),
        model=segmenter.info,
        timings=Timings(
            decode_ms=decode_ms,
            model_ms=model_ms,
            post_ms=post_ms,
            total_ms=_milliseconds(perf_counter() - started),
        ),
        prompts=results,
    )
    return PredictAnswer(manifest=manifest, mask_png=mask, overlay_webp=overlay)


def _timed(work: Callable[[], Result]) -> Callable[[], tuple[Result, float]]:
    """Give *work*'s answer with the milliseconds it ran, without those it waited."""

    def timed() -> tuple[Result, float]:
        """Measure this thread's part."""
        started = perf_counter()
        result = work()
        return result, _milliseconds(perf_counter() - started)

    return timed


def _milliseconds(seconds: float) -> float:
    """Round to a thousandth of a millisecond."""
    return round(seconds * 1000, 3)
