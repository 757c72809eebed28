"""Holds the one model of this process and knows its state."""

from collections.abc import Callable

from pipeline.errors import NotReady, PipelineError, SetupFailed
from pipeline.model.executor import ModelExecutor
from pipeline.model.segmentation_model import SegmentationModel
from pipeline.server.admission import Admission
from runtime import logs
from s3_sam3.contracts.pipeline import Health, HealthAnswer


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
