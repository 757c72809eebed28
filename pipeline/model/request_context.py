"""What goes with one request through the model: how sparingly, for whom, how far it is."""

from dataclasses import dataclass, field
from threading import Event

from pipeline.errors import Withdrawn


@dataclass(slots=True, kw_only=True)
class RequestContext:
    """
    One request on its way through the threads.

    The server's loop abandons it when the caller has gone; the model's thread asks between
    batches of prompts, since nothing can stop a pass that runs.
    """

    scope: str = ""
    """Whose picture it is: what was seen of a picture is remembered for its scope alone."""
    frugal: bool = False
    """Slower, with as little memory as there is a way to."""
    computed: int = 0
    """Prompts that the model is done with; written by the model's thread, read by any."""
    _gone: Event = field(default_factory=Event)

    def abandon(self) -> None:
        """Say that nobody waits for the answer. Harmless after the end."""
        self._gone.set()

    def check(self) -> None:
        """
        Go on only if somebody waits for the answer.

        Raises:
            Withdrawn: the caller has gone.

        """
        if self._gone.is_set():
            raise Withdrawn

    def advance(self, prompts: int) -> None:
        """Count *prompts* more as done."""
        self.computed += prompts
