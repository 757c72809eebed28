"""An event loop without waits: where it would sleep, its clock leaps."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any

from typing_extensions import override


class _Leaping(selectors.SelectSelector):
    """Looks for events and never waits for one."""

    now = 0.0

    @override
    def select(self, timeout: float | None = None) -> Any:
        found = super().select(0)
        if not found and timeout:
            self.now += timeout
        return found


class LeapingLoop(asyncio.SelectorEventLoop):
    """A loop in seconds of its own; for code that meets no network and no thread."""

    def __init__(self) -> None:
        self._leaping = _Leaping()
        super().__init__(self._leaping)

    @override
    def time(self) -> float:
        return self._leaping.now


def leaping(work: Coroutine[Any, Any, Any]) -> Any:
    """Run *work* to its end on a leaping loop; its value."""
    with asyncio.Runner(loop_factory=LeapingLoop) as runner:
        return runner.run(work)
