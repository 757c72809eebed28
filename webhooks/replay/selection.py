"""Which messages are meant."""

import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from webhooks.replay.messages import Message, Standing


_CLASS_LENGTH: Final = 3


class Mode(StrEnum):
    """Three different accidents."""

    RECOVER = "recover"
    """The last attempt failed."""
    MISSING = "missing"
    """There never was one."""
    ALL = "all"


_STANDINGS: Final = {
    Mode.RECOVER: {Standing.FAILED},
    Mode.MISSING: {Standing.MISSING},
    Mode.ALL: set(Standing),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Filters; each that is given must hold."""

    mode: Mode = Mode.ALL
    since: datetime | None = None
    """Not before."""
    until: datetime | None = None
    """Before."""
    ids: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    """Exact, or with `*`: `task.*`."""
    status: Standing | None = None
    """None: any."""
    code: str | None = None
    """Of the last answer: `503`, `5xx`, or `none` for no answer."""
    limit: int | None = None
    """The oldest so many."""

    def of(self, messages: Iterable[Message]) -> list[Message]:
        """The messages that are meant, oldest first."""
        found = sorted(
            (message for message in messages if self.holds(message)),
            key=lambda message: (message.created_at, message.id),
        )
        return found[: self.limit]

    def holds(self, message: Message) -> bool:
        """Whether every filter but the limit lets it through."""
        return (
            message.standing in _STANDINGS[self.mode]
            and self.status in {None, message.standing}
            and self._in_time(message.created_at)
            and (not self.ids or message.id in self.ids)
            and (not self.tasks or message.key in self.tasks)
            and (not self.types or any(fnmatch.fnmatchcase(message.type, t) for t in self.types))
            and (self.code is None or code_fits(self.code, message))
        )

    def _in_time(self, moment: datetime) -> bool:
        return (self.since is None or moment >= self.since) and (
            self.until is None or moment < self.until
        )


def code_fits(code: str, message: Message) -> bool:
    """Whether the last answer's status is *code*; `5xx` is a class, `none` no answer."""
    if message.last is None:
        return False
    if message.last.status is None:
        return code == "none"
    had = str(message.last.status)
    return len(code) == _CLASS_LENGTH and all(
        asked in {"x", digit} for asked, digit in zip(code.lower(), had, strict=True)
    )
