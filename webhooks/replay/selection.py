"""Which messages are meant."""

import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from s3_sam3.recordings.messages import DeliveryState, Message


_CODE_LENGTH: Final = 3


class Mode(StrEnum):
    """What went wrong before."""

    RECOVER = "recover"
    """The last attempt failed."""
    MISSING = "missing"
    """There never was an attempt."""
    ALL = "all"


_STATES: Final = {
    Mode.RECOVER: {DeliveryState.FAILED},
    Mode.MISSING: {DeliveryState.MISSING},
    Mode.ALL: set(DeliveryState),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Filters; each one that is given must match."""

    mode: Mode = Mode.ALL
    since: datetime | None = None
    """Not before."""
    until: datetime | None = None
    """Before."""
    ids: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    """Exact, or with `*`: `task.*`."""
    state: DeliveryState | None = None
    """None: any."""
    code: str | None = None
    """Of the last answer: `503`, `5xx`, or `none` for no answer."""
    limit: int | None = None
    """The oldest so many."""

    def of(self, messages: Iterable[Message]) -> list[Message]:
        """The messages that match, oldest first."""
        found = sorted(
            (message for message in messages if self.matches(message)),
            key=lambda message: (message.created_at, message.id),
        )
        return found[: self.limit]

    def matches(self, message: Message) -> bool:
        """Whether every filter but the limit matches."""
        return (
            message.state in _STATES[self.mode]
            and self.state in {None, message.state}
            and self._in_time(message.created_at)
            and (not self.ids or message.id in self.ids)
            and (not self.tasks or message.key in self.tasks)
            and (not self.types or any(fnmatch.fnmatchcase(message.type, t) for t in self.types))
            and (self.code is None or _code_matches(self.code, message))
        )

    def _in_time(self, moment: datetime) -> bool:
        return (self.since is None or moment >= self.since) and (
            self.until is None or moment < self.until
        )


def _code_matches(code: str, message: Message) -> bool:
    if message.last is None:
        return False
    if message.last.status is None:
        return code == "none"
    status = str(message.last.status)
    return len(code) == _CODE_LENGTH and all(
        wanted in {"x", digit} for wanted, digit in zip(code.lower(), status, strict=True)
    )
