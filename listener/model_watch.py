"""Whether the pipeline has a model to work with, asked once a second."""

import asyncio
from typing import Final

from listener.pipeline_client import PipelineClient
from runtime import logs
from s3_sam3.contracts.manifest import ModelInfo
from s3_sam3.contracts.pipeline import Health, HealthAnswer


log = logs.get_logger(__name__)

_LOOK_SECONDS: Final = 1.0
_WORKING: Final = frozenset({Health.READY, Health.BUSY})


class ModelWatch:
    """Knows whether claiming makes sense; `run` keeps it up to date."""

    def __init__(self, pipeline: PipelineClient) -> None:
        self._pipeline = pipeline
        self._working = asyncio.Event()
        self._last: tuple[str, str | None] | None = None
        self.model: ModelInfo | None = None
        """The model that the pipeline named last."""

    async def run(self) -> None:
        """Ask the pipeline every second until cancelled."""
        while True:
            self._note(await self._pipeline.health())
            await asyncio.sleep(_LOOK_SECONDS)

    async def until_working(self) -> None:
        """Wait until the pipeline is ready or busy."""
        await self._working.wait()

    def gone(self) -> None:
        """Claim nothing until the next look: an attempt could not reach the pipeline."""
        self._working.clear()

    def _note(self, answer: HealthAnswer | None) -> None:
        if answer is not None and answer.status in _WORKING:
            self.model = answer.model
            self._working.set()
        else:
            self._working.clear()
        self._tell(answer)

    def _tell(self, answer: HealthAnswer | None) -> None:
        """Log a change, not each look; ready and busy are one state to the listener."""
        working = self._working.is_set()
        status = "working" if working else str(answer.status if answer else "unreachable")
        reason = answer.reason if answer else None
        if (status, reason) != self._last:
            self._last = (status, reason)
            level = log.info if working else log.warning
            level("pipeline_" + status, reason=reason)
