"""What a sweep saw, would delete, or deleted."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from adapters.objects import ListedObject


MOST_SAMPLES: Final = 5


@dataclass(slots=True)
class Swept:
    """One part of the bucket."""

    prefix: str
    seen: int = 0
    """Objects listed."""
    old: int = 0
    """Of them, old enough to be asked about."""
    orphans: int = 0
    orphan_bytes: int = 0
    deleted: int = 0
    oldest: datetime | None = None
    """When the oldest orphan was written."""
    samples: list[str] = field(default_factory=list)
    """Some orphans' keys."""

    def add(self, orphan: ListedObject) -> None:
        """Count an orphan."""
        self.orphans += 1
        self.orphan_bytes += orphan.size
        if self.oldest is None or orphan.modified_at < self.oldest:
            self.oldest = orphan.modified_at
        if len(self.samples) < MOST_SAMPLES:
            self.samples.append(orphan.key)

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "prefix": self.prefix,
            "seen": self.seen,
            "old": self.old,
            "orphans": self.orphans,
            "orphan_bytes": self.orphan_bytes,
            "deleted": self.deleted,
            "oldest": self.oldest.isoformat() if self.oldest else None,
            "samples": self.samples,
        }


@dataclass(slots=True)
class SweepReport:
    """A whole sweep."""

    dry_run: bool
    places: list[Swept] = field(default_factory=list)
    capped: bool = False
    """It stopped at its limit; there is more."""
    tasks_checked: int = 0
    """Done tasks whose manifest was looked for."""
    missing_manifests: list[str] = field(default_factory=list)
    """Manifests that a done row names and the bucket does not have."""

    @property
    def orphans(self) -> int:
        """Orphans found in all places."""
        return sum(place.orphans for place in self.places)

    @property
    def deleted(self) -> int:
        """Objects deleted in all places."""
        return sum(place.deleted for place in self.places)

    def document(self) -> dict[str, Any]:
        """As JSON, the answer of `python -m janitor sweep`."""
        return {
            "dry_run": self.dry_run,
            "places": [place.document() for place in self.places],
            "orphans": self.orphans,
            "deleted": self.deleted,
            "capped": self.capped,
            "tasks_checked": self.tasks_checked,
            "missing_manifests": self.missing_manifests,
        }
