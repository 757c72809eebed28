"""The life of the process: start, drain, exit."""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

from listener.claim import Claimer
from listener.webhooks import WebhookServer
from runtime import logs
from s3_sam3 import realtime


log = logs.get_logger(__name__)


class Worker:
    """Runs the claimer and the other parts until stopped."""

    def __init__(
        self,
        claimer: Claimer,
        hints: realtime.SupervisedChannel | None,
        parts: list[Coroutine[Any, Any, None]],
        *,
        webhooks: WebhookServer | None = None,
        grace_seconds: float,
    ) -> None:
        self.claimer = claimer
        self.hints = hints
        self.webhooks = webhooks
        self._parts = [*([hints.run()] if hints else []), *parts]
        self._grace_seconds = grace_seconds
        self._stopping = asyncio.Event()
        self._hurrying = asyncio.Event()

    def stop(self) -> None:
        """Drain; called twice: release everything now. A stop before `run` is not lost."""
        if self._stopping.is_set():
            self._hurrying.set()
        self._stopping.set()

    async def run(self) -> None:
        """
        Run until stopped, then drain. Raises what a part failed with.

        If one part fails, all end: attempts release their tasks, and the process exits with it.
        """
        async with asyncio.TaskGroup() as life:
            parts = [life.create_task(part) for part in self._parts]
            async with asyncio.TaskGroup() as attempts:
                claiming = life.create_task(self.claimer.run(attempts))
                log.info("listener_started")
                await self._stopping.wait()
                claiming.cancel()
                await asyncio.wait({claiming})
                await self._drain()
            for part in parts:
                part.cancel()
        log.info("listener_stopped")

    async def _drain(self) -> None:
        """Let attempts finish within the grace, then cancel them, which releases their tasks."""
        log.info("listener_draining", running=len(self.claimer.running))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._grace_seconds):
                await self._finished_or_hurried()
        for task in self.claimer.running:
            task.cancel()

    async def _finished_or_hurried(self) -> None:
        hurried = asyncio.ensure_future(self._hurrying.wait())
        try:
            while self.claimer.running and not hurried.done():
                await asyncio.wait(
                    {hurried, *self.claimer.running}, return_when=asyncio.FIRST_COMPLETED
                )
        finally:
            hurried.cancel()
