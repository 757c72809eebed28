"""What is to be sent, with faults on purpose, and what came of each send."""

import random
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from yarl import URL

from s3_sam3.recordings.messages import Attempt, Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """One time that a message is to be sent."""

    message: Message
    copy: int = 0
    """0 is the message itself, 1 its duplicate."""
    dropped: bool = False
    """Not sent, as if the network had lost it."""
    truncated: bool = False
    """Half of the body is sent, with the signature of the whole."""
    delay_seconds: float = 0.0

    @property
    def name(self) -> str:
        """Its name in the checkpoint."""
        return f"{self.message.id}#{self.copy}"

    @property
    def body(self) -> bytes:
        whole = self.message.body
        return whole[: len(whole) // 2] if self.truncated else whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """
    What networks and queues do to messages, to test receivers; probabilities from 0 to 1.

    The run's id and the message's id seed the dice, so a resumed run has the same faults.
    """

    dup: float = 0.0
    drop: float = 0.0
    truncate: float = 0.0
    delay_seconds: tuple[float, float] = (0.0, 0.0)
    shuffle: bool = False

    def sends(self, messages: Iterable[Message], run: str) -> list[Send]:
        found = [send for message in messages for send in self._of(message, run)]
        if self.shuffle:
            random.Random(run).shuffle(found)  # noqa: S311 - disorder, no secret
        return found

    def _of(self, message: Message, run: str) -> list[Send]:
        dice = random.Random(f"{run}/{message.id}")  # noqa: S311 - disorder, no secret
        copies = 2 if dice.random() < self.dup else 1
        return [
            Send(
                message=message,
                copy=copy,
                dropped=dice.random() < self.drop,
                truncated=dice.random() < self.truncate,
                delay_seconds=dice.uniform(*self.delay_seconds),
            )
            for copy in range(copies)
        ]


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
    """A send and what came of it."""

    send: Send
    sent_id: str
    url: URL
    ending: Ending
    attempt: Attempt | None = None
    why: str | None = None
    """Why it was skipped."""
