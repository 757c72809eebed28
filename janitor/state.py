"""What the process knows of itself: what it did, what failed, what it found wrong."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from janitor.housekeeping import Mismatch
from janitor.swept import SweepReport


@dataclass(slots=True)
class ChoreState:
    """How one chore fares."""

    done_at: datetime | None = None
    """The last round without a fault; None: none yet."""
    failures: int = 0
    """Rounds that failed since then."""
    error: str | None = None
    """What the last of them died of."""


@dataclass(slots=True)
class State:
    """Counts since the start, and the last findings."""

    chores: dict[str, ChoreState] = field(default_factory=dict)
    reaped_attempts: int = 0
    deleted_objects: int = 0
    """By the outbox."""
    refused_prefixes: int = 0
    pruned_results: int = 0
    pruned_webhooks: int = 0
    mismatches: list[Mismatch] = field(default_factory=list)
    """Of the last check of the ledger."""
    sweep: SweepReport | None = None
    """The last one."""

    @property
    def status(self) -> str:
        """`ok`; `failing`: a chore failed last time; `wrong`: there is something to repair."""
        missing = self.sweep.missing_manifests if self.sweep else []
        if self.mismatches or self.refused_prefixes or missing:
            return "wrong"
        failing = any(chore.failures for chore in self.chores.values())
        return "failing" if failing else "ok"

    def document(self) -> dict[str, Any]:
        """All of it as JSON."""
        return {
            "status": self.status,
            "chores": {
                name: {
                    "done_at": chore.done_at.isoformat() if chore.done_at else None,
                    "failures": chore.failures,
                    "error": chore.error,
                }
                for name, chore in self.chores.items()
            },
            "reaped_attempts": self.reaped_attempts,
            "deleted_objects": self.deleted_objects,
            "refused_prefixes": self.refused_prefixes,
            "pruned_results": self.pruned_results,
            "pruned_webhooks": self.pruned_webhooks,
            "ledger_mismatches": [each.model_dump(mode="json") for each in self.mismatches],
            "sweep": self.sweep.document() if self.sweep else None,
        }
