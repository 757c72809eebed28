"""Listeners and fake GPUs as processes, started again whenever they end."""

import asyncio
import contextlib
import os
import random
import signal
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final


KEY: Final = "a-key-between-listener-and-fake-gpu"


@dataclass(slots=True, kw_only=True)
class Slot:
    """One place in the fleet, held by one process after another."""

    name: str
    command: Callable[[str], list[str]]
    """Arguments of python for the holder of that name."""
    environ: Callable[[str], dict[str, str]]
    log: Path
    generation: int = 0
    process: asyncio.subprocess.Process | None = None
    doomed: bool = False
    """Its end was ordered."""
    frozen: bool = False
    deaths: list[int] = field(default_factory=list)
    """Exit codes of ends that nobody ordered."""

    @property
    def holder(self) -> str:
        """Name of the present process."""
        return f"{self.name}.{self.generation}"

    async def keep(self) -> None:
        """Start it, and again after each end, until cancelled; then kill it."""
        with self.log.open("ab") as log:
            try:
                while True:
                    self.generation += 1
                    self.doomed = False
                    self.process = await asyncio.create_subprocess_exec(
                        sys.executable,
                        *self.command(self.holder),
                        env={**os.environ, **self.environ(self.holder)},
                        stdout=log,
                        stderr=log,
                    )
                    code = await self.process.wait()
                    if not self.doomed:
                        self.deaths.append(code)
                        await asyncio.sleep(0.5)
            finally:
                self.signal(signal.SIGKILL)
                if self.process is not None:
                    await self.process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the present process."""
        if number in {signal.SIGKILL, signal.SIGTERM}:
            self.doomed = True
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)

    async def freeze(self, seconds: float) -> None:
        """Stop the process where it stands, and let it go on later, as if nothing had been."""
        self.frozen = True
        self.signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            self.signal(signal.SIGCONT)
            self.frozen = False


class Fleet:
    """All slots."""

    def __init__(self) -> None:
        self.listeners: list[Slot] = []
        self.gpus: list[Slot] = []
        self._keeping: list[asyncio.Task[None]] = []

    def start(self, listeners: Iterable[Slot], gpus: Iterable[Slot]) -> None:
        """Start one process per slot."""
        self.listeners, self.gpus = list(listeners), list(gpus)
        self._keeping = [asyncio.create_task(slot.keep()) for slot in (*self.gpus, *self.listeners)]

    async def stop(self) -> None:
        """Kill them all."""
        for task in self._keeping:
            task.cancel()
        await asyncio.gather(*self._keeping, return_exceptions=True)

    def victim(self, workers: set[str]) -> Slot | None:
        """A listener that runs and has asked for work; None: none does just now."""
        running = [
            slot
            for slot in self.listeners
            if not slot.frozen and not slot.doomed and slot.holder in workers
        ]
        return random.choice(running) if running else None

    @property
    def deaths(self) -> list[int]:
        """Exit codes of listeners that ended by themselves, which none should."""
        return [code for slot in self.listeners for code in slot.deaths]
