"""The programs of one stack, by name: watched, and restarted or paused when asked."""

import asyncio
import dataclasses
import signal
from collections.abc import Awaitable, Callable

from devstack import errors, processes


Open = Callable[[], Awaitable[processes.Process]]


@dataclasses.dataclass(slots=True, kw_only=True)
class Kept:
    """One program, and how to have it again."""

    process: processes.Process
    open: Open
    #: What ends it for a restart.
    end: int
    #: Held while the process is being replaced.
    replacing: asyncio.Lock = dataclasses.field(default_factory=asyncio.Lock)


class Supervisor:
    """A program that ends unasked ends the stack; one that is restarted does not."""

    def __init__(self) -> None:
        self._kept: dict[str, Kept] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Programs that can be named in an order."""
        return tuple(sorted(self._kept))

    async def start(self, name: str, open_: Open, *, end: signal.Signals) -> None:
        """Start the program *name*; *end* is what ends it for a restart. Raises: StackError."""
        self._kept[name] = Kept(process=await open_(), open=open_, end=int(end))

    async def restart(self, name: str, *, kill: bool = False) -> None:
        """
        End the program with its signal, or with SIGKILL, and start it again until it answers.

        Raises: StackError; `watch` then ends the stack, because the program is gone.
        """
        kept = self._kept[name]
        async with kept.replacing:
            await kept.process.signal(signal.SIGKILL if kill else kept.end)
            # One that is paused would take no other signal.
            await kept.process.signal(signal.SIGCONT)
            await kept.process.wait()
            kept.process = await kept.open()

    async def pause(self, name: str) -> None:
        """Stop the program where it stands: it keeps its connections and answers nobody."""
        await self._kept[name].process.signal(signal.SIGSTOP)

    async def resume(self, name: str) -> None:
        await self._kept[name].process.signal(signal.SIGCONT)

    async def watch(self) -> None:
        """Wait until a program ends unasked. Raises: ProcessDiedError."""
        async with asyncio.TaskGroup() as group:
            for kept in self._kept.values():
                group.create_task(_watch(kept))

    async def stop(self) -> None:
        await asyncio.gather(*(kept.process.stop() for kept in self._kept.values()))


async def _watch(kept: Kept) -> None:
    while True:
        process = kept.process
        await process.wait()
        async with kept.replacing:
            if kept.process is process:
                raise errors.ProcessDiedError(process.how_it_ended())
