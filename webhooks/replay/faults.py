"""What networks and queues do to messages, on purpose: the test rig for at-least-once receivers."""

import random
from collections.abc import Iterable
from dataclasses import dataclass

from webhooks.replay.messages import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """One time that a message is to be sent."""

    message: Message
    copy: int = 0
    """0 is the message itself, 1 its double."""
    dropped: bool = False
    """Not sent, as if the network had lost it."""
    truncated: bool = False
    """Half of the body is sent, under the signature of the whole."""
    delay_seconds: float = 0.0

    @property
    def name(self) -> str:
        """What the checkpoint calls it."""
        return f"{self.message.id}#{self.copy}"

    @property
    def body(self) -> bytes:
        """What is sent."""
        whole = self.message.body
        return whole[: len(whole) // 2] if self.truncated else whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """How much of what; probabilities from 0 to 1."""

    dup: float = 0.0
    drop: float = 0.0
    truncate: float = 0.0
    delay_seconds: tuple[float, float] = (0.0, 0.0)
    shuffle: bool = False

    def shots(self, messages: Iterable[Message], seed: str) -> list[Shot]:
        """The shots of a run; the same seed gives a message the same faults each time."""
        found = [shot for message in messages for shot in self._of(message, seed)]
        if self.shuffle:
            random.Random(seed).shuffle(found)  # noqa: S311 - disorder, no secret
        return found

    def _of(self, message: Message, seed: str) -> list[Shot]:
        dice = random.Random(f"{seed}/{message.id}")  # noqa: S311 - disorder, no secret
        copies = 2 if dice.random() < self.dup else 1
        return [
            Shot(
                message=message,
                copy=copy,
                dropped=dice.random() < self.drop,
                truncated=dice.random() < self.truncate,
                delay_seconds=dice.uniform(*self.delay_seconds),
            )
            for copy in range(copies)
        ]
