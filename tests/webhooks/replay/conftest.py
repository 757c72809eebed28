"""A receiver, recordings, and `s3 replay` as a shell runs it."""

import asyncio
import os
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from failing_receiver import SECRET, Ran, Receiver, Replay, Start, receiving

from s3_sam3.messages import Message
from s3_sam3.recordings import Recording


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """One on a free port."""
    async with receiving(Receiver()) as made:
        yield made


@pytest.fixture
async def other_receiver() -> AsyncIterator[Receiver]:
    """Another one."""
    async with receiving(Receiver()) as made:
        yield made


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Start `s3 …`; `NAME=value` adds to its environment."""
    started: list[asyncio.subprocess.Process] = []

    async def begin(*arguments: str, **env: str) -> asyncio.subprocess.Process:
        """Start it."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "s3_sam3.cli", *arguments),
            env={**os.environ, "XDG_STATE_HOME": str(tmp_path / "state"), **env},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.fixture
def replay(start: Start) -> Replay:
    """Run `s3 replay …` to its end."""

    async def run(*arguments: str, **env: str) -> Ran:
        """Run it; signs with SECRET unless told."""
        process = await start("replay", *arguments, **{"REPLAY_SECRET": SECRET, **env})
        out, err = await process.communicate()
        assert process.returncode is not None
        return Ran(code=process.returncode, out=out.decode(), err=err.decode())

    return run


@pytest.fixture
def recorded(tmp_path: Path) -> Callable[..., Path]:
    """Write messages to a recording; answers its path."""

    def write(*messages: Message) -> Path:
        """One file."""
        path = tmp_path / f"{uuid.uuid4().hex}.ndjson"
        with Recording(path) as file:
            for each in messages:
                file.request(uuid.uuid4().hex, each)
        return path

    return write
