"""The process's state: what it did, what failed, what it found wrong; and `GET /health`."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from aiohttp import web

from janitor.database import Mismatch
from janitor.sweep import SweepReport
from runtime.settings import SettingsError


_HOST: Final = "127.0.0.1"
"""The state names users, so it is for this host alone."""


@dataclass(slots=True)
class JobState:
    done_at: datetime | None = None
    """The last round without a fault; None: none yet."""
    failures: int = 0
    """Rounds that failed since then."""
    error: str | None = None
    """Of the last round that failed."""

    def document(self) -> dict[str, Any]:
        done_at = self.done_at.isoformat() if self.done_at else None
        return {"done_at": done_at, "failures": self.failures, "error": self.error}


@dataclass(slots=True)
class State:
    """Counts since the start, and the last findings."""

    jobs: dict[str, JobState] = field(default_factory=dict)
    reaped_attempts: int = 0
    deleted_objects: int = 0
    """By the outbox of deletions."""
    refused_prefixes: int = 0
    pruned_results: int = 0
    pruned_webhooks: int = 0
    mismatches: list[Mismatch] = field(default_factory=list)
    """Of the last check of the ledger."""
    sweep: SweepReport | None = None
    """The last one."""

    @property
    def status(self) -> str:
        """`ok`; `failing`: a job failed last time; `wrong`: there is something to repair."""
        missing = self.sweep.missing_manifests if self.sweep else []
        if self.mismatches or self.refused_prefixes or missing:
            return "wrong"
        failing = any(job.failures for job in self.jobs.values())
        return "failing" if failing else "ok"

    def document(self) -> dict[str, Any]:
        return {
            "status": self.status,
            "jobs": {name: job.document() for name, job in self.jobs.items()},
            "reaped_attempts": self.reaped_attempts,
            "deleted_objects": self.deleted_objects,
            "refused_prefixes": self.refused_prefixes,
            "pruned_results": self.pruned_results,
            "pruned_webhooks": self.pruned_webhooks,
            "ledger_mismatches": [each.model_dump(mode="json") for each in self.mismatches],
            "sweep": self.sweep.document() if self.sweep else None,
        }


@contextlib.asynccontextmanager
async def served(state: State, port: int) -> AsyncIterator[int]:
    """Serve the state on *port* (0: any free one); yields the port. Raises: SettingsError."""

    async def health(_request: web.Request) -> web.Response:
        return web.json_response(state.document())

    app = web.Application()
    app.add_routes([web.get("/health", health)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, _HOST, port).start()
        except OSError as error:
            msg = f"JANITOR_PORT {port} cannot be used ({error.strerror})."
            raise SettingsError(msg) from error
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
