"""What goes with one request through the threads: its scope, its memory needs, its progress."""

from dataclasses import dataclass, field
from threading import Event

from pipeline.errors import Withdrawn


@dataclass(slots=True, kw_only=True)
class RequestContext:
    """
    One request on its way through the threads.

    The server's loop abandons it when the caller has gone; the model's thread checks between
    batches, since nothing can stop a pass that runs.
    """

    scope: str = ""
    """Whose picture it is; features of a picture are only shared within its scope."""
    frugal: bool = False
    """Use as little memory as possible, and be slower."""
    computed: int = 0
    """Prompts that are done; written by the model's thread, read by any."""
    _gone: Event = field(default_factory=Event)

    def abandon(self) -> None:
        """Note that nobody waits for the answer. Harmless after the end."""
        self._gone.set()

    def check(self) -> None:
        """
        Raise if nobody waits for the answer any more.

        Raises:
            Withdrawn: the caller has gone.

        """
        if self._gone.is_set():
            raise Withdrawn

    def advance(self, prompts: int) -> None:
        """Count *prompts* more as done."""
        self.computed += prompts
