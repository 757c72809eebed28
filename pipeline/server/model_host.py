"""The one model of this process: chosen and built at the start, and its state."""

import os
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import NotReady, PipelineError, SetupFailed
from pipeline.model import fake_model
from pipeline.model.executor import ModelExecutor
from pipeline.model.segmentation_model import SegmentationModel
from pipeline.server.admission import Admission
from pipeline.settings import Settings
from runtime import logs
from s3_sam3.contracts.manifest import ModelInfo
from s3_sam3.contracts.pipeline import Health, HealthAnswer


if TYPE_CHECKING:
    import torch

    from pipeline.model.detector import Detector
    from pipeline.model.sam3 import Sam3Segmenter
    from pipeline.model.weights import Checkpoint

log = logs.get_logger(__name__)


class ModelHost:
    """
    starting → ready ⇄ busy → defunct, or starting → setup_failed.

    The last two are final: the process goes on answering `/health` so that a supervisor can read
    the reason before it starts another.
    """

    def __init__(self, executor: ModelExecutor, admission: Admission) -> None:
        self._executor = executor
        self._admission = admission
        self._model: SegmentationModel | None = None
        self._failure: tuple[Health, str] | None = None

    async def setup(self, load: Callable[[], SegmentationModel]) -> None:
        """Load the model in the model's own thread, while the loop answers `/health`."""
        log.info("setup_started")
        try:
            self._model = await self._executor.in_model(load)
        except SetupFailed as error:
            self._fail(Health.SETUP_FAILED, error.message)
        except Exception as error:  # it must not stay at "starting" for ever
            log.exception("setup_crashed")
            self._fail(Health.SETUP_FAILED, f"Setup crashed: {type(error).__name__}: {error}")
        else:
            log.info("setup_done", **self._model.info.model_dump())

    def died(self, error: PipelineError) -> None:
        """Remember that no later call can succeed."""
        self._fail(Health.DEFUNCT, f"{error.message} Start the pipeline again.")

    def _fail(self, state: Health, reason: str) -> None:
        self._failure = (state, reason)
        log.error(state.value, reason=reason)

    @property
    def health(self) -> HealthAnswer:
        """What `GET /health` answers."""
        info = self._model.info if self._model else None
        if self._failure:
            state, reason = self._failure
            return HealthAnswer(status=state, reason=reason, model=info)
        if info is None:
            return HealthAnswer(status=Health.STARTING)
        status = Health.BUSY if self._admission.inside else Health.READY
        return HealthAnswer(status=status, model=info)

    @property
    def model(self) -> SegmentationModel:
        """
        Give the model.

        Raises:
            NotReady: there is none yet, or never will be.

        """
        if self._failure:
            raise NotReady(self._failure[1])
        if self._model is None:
            message = "The model is still loading. Ask /health and try again."
            raise NotReady(message)
        return self._model


def open_segmenter(settings: Settings) -> SegmentationModel:
    """
    Load the model that the settings name. Blocking: seconds to minutes.

    Raises:
        SetupFailed: there is none, or it fails its self-test; the message says what to do.

    """
    # Before any import of torch, so that the fake model starts at once and needs none.
    if settings.sam3_weights_path == fake_model.PATH:
        return fake_model.FakeSegmenter()
    # Read when torch loads. Its threads would spin while they wait, and take the cores away from
    # those that decode and trace.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from pipeline.model.sam3 import Sam3Segmenter

    segmenter = Sam3Segmenter(
        detector=open_detector(settings),
        gpu_cache_bytes=settings.pipeline_gpu_cache_bytes,
        host_cache_bytes=settings.pipeline_host_cache_bytes,
    )
    if segmenter.info.memory_mb:
        warm_up(segmenter)
    return segmenter


def open_detector(settings: Settings) -> "Detector":
    """
    Load, shape, compile and question the model that the settings name.

    Raises:
        SetupFailed: as `open_segmenter`.

    """
    from pipeline.model import device, hub, self_test, weights

    there = device.choose(settings.sam3_device)
    token = settings.hf_token.get_secret_value() if settings.hf_token else None
    path = settings.sam3_weights_path
    checkpoint = weights.locate(Path(path).expanduser() if path else hub.fetch(token))
    model, tokenizer = weights.load(checkpoint)
    device.set_attention(settings.sam3_attention, model)
    detector: Detector = checkpoint.backend.open(
        model=device.occupy(there, model),
        tokenizer=tokenizer,
        info=_describe(settings, checkpoint, there),
    )
    if settings.sam3_compile != "off":
        detector = _compile(detector, heads=settings.sam3_compile == "full")
    self_test.run(detector, settings.sam3_self_test)
    return detector


def _describe(settings: Settings, checkpoint: "Checkpoint", there: "torch.device") -> ModelInfo:
    """What `GET /api/v1/model/info` and every manifest say about the model."""
    from pipeline.model import device

    return ModelInfo(
        name="tiny" if checkpoint.demo else "sam3",
        revision=checkpoint.revision(),
        backend=checkpoint.backend.name,
        dtype=device.choose_dtype(settings.sam3_dtype, there),
        device=str(there),
        code_version=metadata.version("s3-sam3"),
        demo=checkpoint.demo,
        memory_mb=device.memory_mb(there),
    )


def _compile(detector: "Detector", *, heads: bool) -> "Detector":
    """Compile every batch size."""
    from pipeline.model.compiled import CompiledDetector

    compiled = CompiledDetector(detector, heads=heads)
    compiled.warm_up()
    return compiled


def warm_up(segmenter: "Sam3Segmenter") -> None:
    """Run one grey picture through, so that the first request finds kernels chosen and loaded."""
    from PIL import Image

    from pipeline.model.segmentation_model import segment
    from s3_sam3.contracts.prompts import Prompt

    segment(segmenter, Image.new("RGB", (64, 64), "grey"), (Prompt(text="object"),))
