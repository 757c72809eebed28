"""A receiver, recordings, and `python -m webhooks.replay` as a shell runs it."""

import asyncio
import contextlib
import os
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiohttp import web
from failing_receiver import SECRET, Ran, Receiver, Replay, Start

from webhooks.replay.messages import Message
from webhooks.replay.recording import Recording


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """One on a free port."""
    async with _serving() as made:
        yield made


@pytest.fixture
async def other_receiver() -> AsyncIterator[Receiver]:
    """Another one."""
    async with _serving() as made:
        yield made


@contextlib.asynccontextmanager
async def _serving() -> AsyncIterator[Receiver]:
    made = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield made
    if made.gate is not None:
        made.gate.set()
    await runner.cleanup()


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Start `python -m webhooks.replay …`; `NAME=value` adds to its environment."""
    started: list[asyncio.subprocess.Process] = []

    async def begin(*arguments: str, **env: str) -> asyncio.subprocess.Process:
        """Start it."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "webhooks.replay", *arguments),
            env={**os.environ, "REPLAY_STATE_DIR": str(tmp_path / "state"), **env},
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
    """Run `python -m webhooks.replay send …` to its end."""

    async def run(*arguments: str, **env: str) -> Ran:
        """Run it; signs with SECRET unless told."""
        process = await start("send", *arguments, **{"REPLAY_SECRET": SECRET, **env})
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
