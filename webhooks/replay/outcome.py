"""What became of a shot."""

from dataclasses import dataclass
from enum import StrEnum

from yarl import URL

from webhooks.replay.diff import Diff, compared
from webhooks.replay.faults import Shot
from webhooks.replay.messages import Attempt


class Ending(StrEnum):
    """How a send ended, or why there was none."""

    OK = "ok"
    FAILED = "failed"
    AGAIN = "again"
    """The receiver asked to come again later: this send failed, and another one follows."""
    DROPPED = "dropped"
    SKIPPED = "skipped"
    """Not sent; a resumed run sends it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A shot and what became of it."""

    shot: Shot
    sent_id: str
    url: URL
    ending: Ending
    attempt: Attempt | None = None
    why: str | None = None
    """Why it was skipped."""

    @property
    def diff(self) -> Diff | None:
        """Against the recorded attempt; None: one of the two does not exist."""
        before = self.shot.message.last
        return compared(before, self.attempt) if before and self.attempt else None
