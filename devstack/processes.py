"""Programs of the stack, each behind a guard that ends it when this process is gone."""

import asyncio
import dataclasses
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from devstack import errors


GUARD = Path(__file__).with_name("guard.py")

#: Between two looks at a program that is starting.
LOOK_SECONDS = 0.01

#: A laptop under load may take long; a program that needs more is stuck.
READY_SECONDS = 60.0

#: How much of a log an error shows.
LOG_TAIL_CHARACTERS = 2000


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What to run, and how to stop it."""

    name: str
    command: tuple[str, ...]
    environ: Mapping[str, str]
    directory: Path
    log: Path
    #: Signals with the seconds granted to each; SIGKILL follows by itself.
    stop: tuple[tuple[int, float], ...]
    #: See guard.py: `-`, `namespace`, or `UID:GID`.
    run_as: str = "-"


class Process:
    def __init__(self, program: Program, guard: asyncio.subprocess.Process) -> None:
        self.program = program
        self._guard = guard
        #: One at a time, so that each hears its own answer.
        self._signalling = asyncio.Lock()

    @classmethod
    async def start(cls, program: Program, lease: int) -> "Process":
        """
        Start *program*. Its guard inherits the file descriptor *lease*.

        The descriptor carries a lock, which is thus held for as long as the program runs.
        """
        steps = ",".join(f"{int(number)}:{seconds}" for number, seconds in program.stop)
        log = os.open(program.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            starting = asyncio.ensure_future(
                asyncio.create_subprocess_exec(
                    sys.executable,
                    "-I",
                    "-S",
                    str(GUARD),
                    steps,
                    program.run_as,
                    *program.command,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=log,
                    cwd=program.directory,
                    env=dict(program.environ),
                    start_new_session=True,
                    pass_fds=(lease,),
                )
            )
            guard = await _started_or_ended(starting)
        finally:
            os.close(log)
        return cls(program, guard)

    async def wait(self) -> int:
        """Exit status of the program, once it ended."""
        return await self._guard.wait()

    async def signal(self, number: int) -> None:
        """
        Let the guard send the program's group the signal *number*.

        Returns when it is sent (SIGSTOP: when the program stands still), or the program is gone.
        """
        if self._guard.stdin is None or self._guard.stdout is None:
            return
        async with self._signalling:
            self._guard.stdin.write(bytes([number]))
            await self._guard.stdout.read(1)

    async def stop(self) -> None:
        """Cut the lifeline and wait until the program is gone."""
        if self._guard.stdin is not None:
            self._guard.stdin.close()
        await self._guard.wait()

    async def until(self, answers: Callable[[], Awaitable[bool]]) -> None:
        """Wait until *answers* is true. Raises: ProcessDiedError, NotReadyError."""
        deadline = time.monotonic() + READY_SECONDS
        while not await answers():
            if self._guard.returncode is not None:
                raise errors.ProcessDiedError(self.how_it_ended())
            if time.monotonic() > deadline:
                raise errors.NotReadyError(
                    f"{self.program.name} does not answer; its log is {self.program.log}"
                )
            await asyncio.sleep(LOOK_SECONDS)

    def how_it_ended(self) -> str:
        """How the program ended, with the end of its log."""
        tail = self.program.log.read_text(errors="replace")[-LOG_TAIL_CHARACTERS:].strip()
        return (
            f"{self.program.name} ended with status {self._guard.returncode}."
            f" Its log, {self.program.log}, ends with:\n{tail}"
        )


async def _started_or_ended(
    starting: asyncio.Future[asyncio.subprocess.Process],
) -> asyncio.subprocess.Process:
    """
    Wait for a guard that is *starting*; a cancellation then ends it as a stop would.

    Left to itself, asyncio would kill the guard, which may have started its program already.
    """
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        guard = await starting
        if guard.stdin is not None:
            guard.stdin.close()
        await guard.wait()
        raise
