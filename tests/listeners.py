"""Listeners that tests start: in this process, or as one of their own."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from listener.worker import Worker


Environment = Callable[..., dict[str, str]]
"""`environment(LISTENER_…=…)`: the environment of a listener, with overrides."""

Listening = Callable[..., contextlib.AbstractAsyncContextManager[Worker]]
"""`async with listening(LISTENER_…=…) as worker`: a listener in this process."""


@dataclass(kw_only=True)
class ListenerProcess:
    """`python -m listener`, and what it logged."""

    process: asyncio.subprocess.Process
    lines: list[dict[str, Any]] = field(default_factory=list)
    other: list[str] = field(default_factory=list)

    async def read(self) -> None:
        """Read the log until the process ends."""
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            try:
                self.lines.append(json.loads(line))
            except ValueError:
                self.other.append(line.decode())

    def said(self, event: str) -> list[dict[str, Any]]:
        """Lines of that event."""
        return [line for line in self.lines if line.get("event") == event]


Spawn = Callable[..., Awaitable[ListenerProcess]]
"""`await spawn(LISTENER_…=…)`: a listener process, killed at the end."""
