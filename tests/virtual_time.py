"""An event loop in virtual time: where it would wait, its clock moves forward instead."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any

from typing_extensions import override


class _NeverWaiting(selectors.SelectSelector):
    """Looks for events and never waits for one."""

    now = 0.0

    @override
    def select(self, timeout: float | None = None) -> Any:
        found = super().select(0)
        if not found and timeout:
            self.now += timeout
        return found


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A loop with its own clock, for code that uses no network and no thread."""

    def __init__(self) -> None:
        self._clock = _NeverWaiting()
        super().__init__(self._clock)

    @override
    def time(self) -> float:
        return self._clock.now


def run_in_virtual_time(work: Coroutine[Any, Any, Any]) -> Any:
    """Run *work* to its end in virtual time; return its value."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(work)
