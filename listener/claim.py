"""While there is room and a model: claim what is due, start attempts."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from adapters import machine_auth, rest
from listener.attempt import Attempt, WorkerContext
from listener.lease_store import Claim
from listener.run_attempt import run, to_the_end
from listener.wake import Wake, WakeSource
from runtime import logs
from s3_sam3.contracts import limits
from s3_sam3.contracts.manifest import ModelInfo
from s3_sam3.contracts.tasks import MediaKind


log = logs.get_logger(__name__)

_DTYPES: Final = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}
"""torch's names -> the names in a task's `needs`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What the settings say this worker can do; the rest depends on the pipeline's model."""

    slots: int
    """Tasks in work at once."""
    memory_mb: int | None = None
    """GPU memory to declare, MiB; None: what the pipeline says."""

    def with_model(self, model: ModelInfo | None) -> dict[str, Any]:
        """The `p_capabilities` of `claim_tasks`."""
        memory_mb = self.memory_mb
        if memory_mb is None:
            memory_mb = model.memory_mb if model else 0
        return {
            "kinds": [MediaKind.IMAGE.value],
            "memory_mb": memory_mb,
            "max_pixels": limits.MAX_IMAGE_PIXELS,
            "slots": self.slots,
            "model_revision": model.revision if model else None,
            "dtype": _DTYPES.get(model.dtype, model.dtype) if model else None,
        }


class Claimer:
    """Looks at the queue when woken, and owns the attempts that follow."""

    def __init__(self, wake: Wake, context: WorkerContext, capabilities: Capabilities) -> None:
        self.claims_by_source: Counter[WakeSource] = Counter()
        self.running: set[asyncio.Task[None]] = set()
        """One for each task in work."""
        self._wake = wake
        self._context = context
        self._capabilities = capabilities
        self._room = asyncio.Event()
        self._room.set()

    async def run(self, attempts: asyncio.TaskGroup) -> None:
        """
        Look whenever woken, until cancelled; attempts live in *attempts*, not here.

        A cancellation never interrupts a look: tasks claimed by a request whose answer nobody
        read would be locked until their lease ends.
        """
        while True:
            source = await self._wake.wait()
            await self._room.wait()
            await self._context.model.until_working()
            await to_the_end(self._look(source, attempts))

    async def _look(self, source: WakeSource, attempts: asyncio.TaskGroup) -> None:
        free = self._capabilities.slots - len(self.running)
        capabilities = self._capabilities.with_model(self._context.model.model)
        try:
            claimed = await self._context.store.claim(free, capabilities)
        except (rest.RestError, machine_auth.MachineAuthError) as error:
            _explain(error)
            return
        self.claims_by_source[source] += claimed.count
        for claim in claimed.claims:
            self._start(claim, source, attempts)
        if claimed.count >= free:
            # There may be more; the clock or another hint is not waited for.
            self._wake.hint(source)

    def _start(self, claim: Claim, source: WakeSource, attempts: asyncio.TaskGroup) -> None:
        log.info(
            "task_claimed",
            task_id=str(claim.id),
            token=claim.token,
            source=source.value,
            attempt=claim.attempt_count,
            claims_by_source={name.value: n for name, n in self.claims_by_source.items()},
        )
        task = attempts.create_task(run(Attempt(claim, self._context)))
        self.running.add(task)
        task.add_done_callback(self._ended)
        if len(self.running) >= self._capabilities.slots:
            self._room.clear()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.running.discard(task)
        if len(self.running) < self._capabilities.slots:
            self._room.set()


def _explain(error: Exception) -> None:
    """Say why nothing was claimed; the clock brings the next look."""
    if isinstance(error, rest.RestRefused) and error.status == HTTPStatus.FORBIDDEN:
        log.error(
            "machine_disabled",
            meaning="this machine is not registered or was disabled; nothing is claimed",
            error=str(error),
        )
    else:
        log.warning("claim_failed", error=str(error))
