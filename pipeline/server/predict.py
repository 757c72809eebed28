"""One picture's way: decode, find, outline, draw, and the manifest over all of it."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Protocol, TypeVar

from PIL import Image

from pipeline.decode.picture import Decoded
from pipeline.errors import OutOfMemory, TooLate
from pipeline.model.executor import ModelExecutor
from pipeline.model.request_context import RequestContext
from pipeline.model.segmentation_model import SegmentationModel
from pipeline.server.admission import DRAWING_BYTES, PIXEL_BYTES, Hold, Room
from s3_sam3.contracts.manifest import ImageSize, Manifest, PromptResult, Timings
from s3_sam3.contracts.pipeline import PredictRequest
from s3_sam3.imaging import label_map, overlay


Result = TypeVar("Result")


class Decoder(Protocol):
    """Makes pictures of bytes that nobody has checked."""

    async def decode(self, data: bytes, during: Callable[[Future[Any]], None]) -> Decoded:
        """
        Decode the first frame, upright and RGB; tell *during* what it is that runs.

        Raises:
            Refused: the picture is at fault.

        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What one caller wants of one picture."""

    data: bytes
    request: PredictRequest
    context: RequestContext
    decoded: Callable[[], None] = lambda: None
    """Called when the bytes are a picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What was found in one picture; the two drawings are empty unless they were asked for."""

    manifest: Manifest
    mask_png: bytes
    overlay_webp: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictor:
    """Where pictures are worked on: who decodes, who thinks, and how much may lie about."""

    decoder: Decoder
    executor: ModelExecutor
    room: Room
    """For decoded pictures."""
    drawing: Room
    """For what drawing takes beside them; who has room here waits for nobody."""

    async def predict(self, segmenter: SegmentationModel, job: Job) -> Prediction:
        """
        Segment one picture. Cancelled, it ends the model's work at the next batch.

        Raises:
            Refused: picture or prompts are at fault.
            TooLate: the request's own time was up.
            OutOfMemory: it did not fit.
            ModelFailed: the model raised.
            ModelDied: the GPU is lost.

        """
        limit = asyncio.timeout(job.request.seconds)
        try:
            async with limit:
                return await self._predict(segmenter, job)
        except TimeoutError as error:
            if limit.expired():
                raise TooLate from error
            raise
        except MemoryError as error:  # of the side threads; the model's own are translated there
            raise OutOfMemory from error
        finally:
            job.context.abandon()

    async def _predict(self, segmenter: SegmentationModel, job: Job) -> Prediction:
        """Do what `predict` says."""
        started = perf_counter()
        request = job.request
        job.context.check()
        async with self.room.entered() as hold:
            (picture, frames) = await self.decoder.decode(job.data, hold.during)
            decoded = _milliseconds(started)
            job.decoded()
            hold(PIXEL_BYTES * _pixels(picture))

            def prepared() -> Any:
                """Bring it into the model's form."""
                return segmenter.prepare(picture, request.prompts, request.options, job.context)

            model_request, prepare_ms = await self.executor.beside(_timed(prepared), hold.during)
            await self.executor.find(segmenter, model_request)
            results, trace_ms = await self.executor.beside(
                _timed(lambda: segmenter.trace(model_request))
            )
            pictures, draw_ms = (b"", b""), 0.0
            if request.pictures:
                demo = segmenter.info.demo
                pictures, draw_ms = await self._draw(picture, results, job.context, hold, demo=demo)
        manifest = Manifest(
            image=ImageSize(width=picture.width, height=picture.height, frames=frames),
            model=segmenter.info,
            timings=Timings(
                decode_ms=round(decoded + prepare_ms, 3),
                model_ms=round(model_request.model_ms, 3),
                post_ms=round(trace_ms + draw_ms, 3),
                total_ms=round(_milliseconds(started), 3),
            ),
            options=request.options,
            prompts=results,
        )
        return Prediction(manifest=manifest, mask_png=pictures[0], overlay_webp=pictures[1])

    async def _draw(
        self,
        picture: Image.Image,
        results: tuple[PromptResult, ...],
        context: RequestContext,
        hold: Hold,
        *,
        demo: bool,
    ) -> tuple[tuple[bytes, bytes], float]:
        """Draw label map and overlay when there is room; give them with the milliseconds."""

        def drawn() -> tuple[bytes, bytes]:
            """Draw, if that is still wanted."""
            context.check()
            labels = label_map.label_map(results, picture.width, picture.height)
            seen = overlay.overlay_webp(picture, labels, results, demo=demo)
            return label_map.mask_png(labels), seen

        async with self.drawing.entered(DRAWING_BYTES * _pixels(picture)) as room:

            def during(work: Future[Any]) -> None:
                """Hold the picture, and the room beside it."""
                hold.during(work)
                room.during(work)

            return await self.executor.beside(_timed(drawn), during)


def _pixels(picture: Image.Image) -> int:
    """Count them."""
    return picture.width * picture.height


def _timed(work: Callable[[], Result]) -> Callable[[], tuple[Result, float]]:
    """Give *work*'s answer with the milliseconds it ran, without those it waited."""

    def timed() -> tuple[Result, float]:
        """Measure this thread's part."""
        started = perf_counter()
        return work(), _milliseconds(started)

    return timed


def _milliseconds(started: float) -> float:
    """Give the milliseconds since *started*."""
    return (perf_counter() - started) * 1000
