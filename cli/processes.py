"""Child programs: started, watched, restarted if asked, stopped in reverse order."""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from s3_sam3 import S3Error
from s3_sam3.cli import Exit


PR_SET_PDEATHSIG = 1
"""linux/prctl.h: the signal a process gets when its parent dies."""

LONGEST_PAUSE_SECONDS = 30.0
"""Between two starts of a program that keeps dying."""

READY_STEP_SECONDS = 0.05
"""Between two checks of a program that is starting."""

DEFUNCT_STEP_SECONDS = 5.0
"""Between two checks whether a program is still of use."""

STEADY_SECONDS = 60.0
"""A program that lived this long is restarted at once."""


class ProgramEnded(S3Error):
    """A program ended by itself, and is not restarted."""

    def __init__(self, name: str, code: int, log: Path | None) -> None:
        where = f" Its log: {log}" if log else ""
        super().__init__(f"{name} ended with exit code {code}.{where}")
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    name: str
    module: str
    arguments: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    restart: bool = False
    """Start it again when it dies, unless it died of its configuration."""
    is_defunct: Callable[[], Awaitable[bool]] | None = None
    """Whether it runs and is of no use any more; then it is killed, to be restarted."""
    stop_seconds: float = 10.0
    """How long a SIGTERM may take before SIGKILL."""
    log: Path | None = None
    """Where its output goes; None: to this terminal."""


class Running:
    def __init__(self, program: Program, note: Callable[[str], None]) -> None:
        self.program = program
        self._note = note
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False
        self.task = asyncio.create_task(self._keep_running(), name=f"program-{program.name}")

    async def stop(self) -> None:
        self._stopping = True
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                async with asyncio.timeout(self.program.stop_seconds):
                    await process.wait()
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def _keep_running(self) -> None:
        pause = 1.0
        loop = asyncio.get_running_loop()
        while True:
            born = loop.time()
            code = await self._run()
            if self._stopping:
                return
            if not self.program.restart or code == Exit.CONFIGURATION:
                raise ProgramEnded(self.program.name, code, self.program.log)
            pause = 1.0 if loop.time() - born > STEADY_SECONDS else pause
            self._note(f"{self.program.name} died (exit code {code}); again in {pause:.0f} s")
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _run(self) -> int:
        with _output(self.program.log) as output:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                self.program.module,
                *self.program.arguments,
                env={**os.environ, **self.program.env},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Ctrl-C in the terminal would reach all at once; `stop` keeps the order.
                start_new_session=True,
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,
            )
            watching = asyncio.create_task(self._watch(self._process))
            try:
                return await self._process.wait()
            finally:
                watching.cancel()

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        while self.program.is_defunct is not None:
            await asyncio.sleep(DEFUNCT_STEP_SECONDS)
            if await self.program.is_defunct():
                self._note(f"{self.program.name} is defunct and is killed")
                # SIGKILL: it has nothing to save, and its GPU may never answer.
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                return


class Programs:
    """Several programs, stopped in reverse order."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note
        self._running: list[Running] = []

    def start(self, program: Program) -> Running:
        """Start a program; `wait` ends when it does, unless it is restarted."""
        running = Running(program, self._note)
        self._running.append(running)
        return running

    async def wait(self) -> None:
        """Wait until a program ends for good; raises ProgramEnded."""
        done, _ = await asyncio.wait(
            [running.task for running in self._running], return_when=asyncio.FIRST_COMPLETED
        )
        for task in done:
            await task

    async def stop(self) -> None:
        for running in reversed(self._running):
            await running.stop()
        self._running.clear()

    async def ready(self, check: Callable[[], Awaitable[bool]], *, seconds: float) -> None:
        """Wait until *check* is true; raises ProgramEnded, or TimeoutError after *seconds*."""
        async with asyncio.timeout(seconds):
            while not await check():
                for running in self._running:
                    if running.task.done():
                        await running.task
                await asyncio.sleep(READY_STEP_SECONDS)


def _output(log: Path | None) -> contextlib.AbstractContextManager[IO[bytes] | None]:
    if log is None:
        return contextlib.nullcontext()
    log.parent.mkdir(parents=True, exist_ok=True)
    return log.open("ab")


def _end_with_parent() -> None:
    # A SIGKILL of `s3 worker` must not leave a model on the GPU.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
