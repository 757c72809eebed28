"""One picture's way: decode, prepare, find, trace, draw, and the manifest over all of it."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from time import perf_counter
from typing import Any, TypeVar

from PIL import Image

from pipeline.decode.pool import DecodePool
from pipeline.errors import OutOfMemory, TooLate
from pipeline.model.executor import ModelExecutor
from pipeline.model.segmentation_model import RequestContext, SegmentationModel
from pipeline.server.admission import DRAWING_BYTES, PIXEL_BYTES, ByteBudget, Reservation
from s3_sam3.contracts.manifest import ImageSize, Manifest, PromptResult, Timings
from s3_sam3.contracts.pipeline import PredictRequest
from s3_sam3.imaging import label_map, overlay


Result = TypeVar("Result")


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
    """What was found in one picture; both drawings are empty unless they were asked for."""

    manifest: Manifest
    mask_png: bytes = b""
    overlay_webp: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictor:
    """What works on pictures, and how many bytes of them there may be."""

    decoder: DecodePool
    executor: ModelExecutor
    pictures: ByteBudget
    """For decoded pictures."""
    drawings: ByteBudget
    """For what drawing takes beside the picture; who holds some waits for nothing else."""

    async def predict(self, model: SegmentationModel, job: Job) -> Prediction:
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
                return await self._predict(model, job)
        except TimeoutError as error:
            if limit.expired():
                raise TooLate from error
            raise
        except MemoryError as error:  # of the side threads; the model's own are translated there
            raise OutOfMemory from error
        finally:
            job.context.abandon()

    async def _predict(self, model: SegmentationModel, job: Job) -> Prediction:
        started = perf_counter()
        asked = job.request
        job.context.check()
        async with self.pictures.reserve() as reserved:
            picture, frames = await self.decoder.decode(job.data, reserved.keep_during)
            decode_ms = _milliseconds(started)
            job.decoded()
            reserved.resize(PIXEL_BYTES * _pixels(picture))
            request, prepare_ms = await self.executor.beside(
                _timed(lambda: model.prepare(picture, asked.prompts, asked.options, job.context)),
                reserved.keep_during,
            )
            await self.executor.find(model, request)
            results, trace_ms = await self.executor.beside(_timed(lambda: model.trace(request)))
            drawn, draw_ms = (b"", b""), 0.0
            if asked.pictures:
                drawn, draw_ms = await self._draw(
                    picture, results, job.context, reserved, demo=model.info.demo
                )
        manifest = Manifest(
            image=ImageSize(width=picture.width, height=picture.height, frames=frames),
            model=model.info,
            timings=Timings(
                decode_ms=round(decode_ms + prepare_ms, 3),
                model_ms=round(request.model_ms, 3),
                post_ms=round(trace_ms + draw_ms, 3),
                total_ms=round(_milliseconds(started), 3),
            ),
            options=asked.options,
            prompts=results,
        )
        return Prediction(manifest=manifest, mask_png=drawn[0], overlay_webp=drawn[1])

    async def _draw(
        self,
        picture: Image.Image,
        results: tuple[PromptResult, ...],
        context: RequestContext,
        reserved: Reservation,
        *,
        demo: bool,
    ) -> tuple[tuple[bytes, bytes], float]:
        """Draw label map and overlay within the budget; give them and the milliseconds it took."""

        def drawn() -> tuple[bytes, bytes]:
            """Draw, if that is still wanted."""
            context.check()
            labels = label_map.label_map(results, picture.width, picture.height)
            tinted = overlay.overlay_webp(picture, labels, results, demo=demo)
            return label_map.mask_png(labels), tinted

        async with self.drawings.reserve(DRAWING_BYTES * _pixels(picture)) as beside:

            def during(work: Future[Any]) -> None:
                """Keep the picture's bytes, and those beside it."""
                reserved.keep_during(work)
                beside.keep_during(work)

            return await self.executor.beside(_timed(drawn), during)


def _pixels(picture: Image.Image) -> int:
    return picture.width * picture.height


def _timed(work: Callable[[], Result]) -> Callable[[], tuple[Result, float]]:
    """Give *work*'s result with the milliseconds it ran, without those it waited for a thread."""

    def timed() -> tuple[Result, float]:
        """Measure in the thread that works."""
        started = perf_counter()
        return work(), _milliseconds(started)

    return timed


def _milliseconds(started: float) -> float:
    return (perf_counter() - started) * 1000
