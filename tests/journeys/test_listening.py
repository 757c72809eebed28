"""`s3 listen` and `s3 replay` as a developer uses them, against a whole S3."""

import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web
from journeys.service import Service
from pictures import shapes

from s3_sam3 import S3Client, signatures
from s3_sam3.cli import config as kept
from s3_sam3.contracts.webhooks import TaskEvent


#: Headers and bodies of requests.
Came = list[tuple[dict[str, str], bytes]]


@pytest.fixture
def environment(
    service: Service, s3: S3Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """A shell in which the user of `s3` is signed in."""
    folder = tmp_path / "config"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder))
    kept.remember_service(service.settings)
    kept.remember_session(s3.session.tokens)
    return {**service.environment(folder), "XDG_STATE_HOME": str(tmp_path / "state")}


@pytest.fixture
async def hook() -> AsyncIterator[tuple[str, Came]]:
    """The address of a receiver that fails at the first request, and what came to it."""
    came: Came = []

    async def handle(request: web.Request) -> web.Response:
        came.append((dict(request.headers), await request.read()))
        return web.Response(status=500 if len(came) == 1 else 204)

    app = web.Application()
    app.router.add_post("/hook", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/hook", came
    await runner.cleanup()


async def test_events_come_to_the_machine_and_can_be_replayed(
    s3: S3Client,
    hook: tuple[str, Came],
    environment: dict[str, str],
    tmp_path: Path,
    eventually: Callable[..., Awaitable[None]],
) -> None:
    """A task that ends is posted, signed with the printed secret; `s3 replay` repairs a failure."""
    url, came = hook
    log = tmp_path / "log.ndjson"
    listening = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "s3_sam3.cli", "listen", "--forward-to", url, "--record", str(log)),
        env=environment,
        stderr=subprocess.PIPE,
    )
    try:
        assert listening.stderr is not None
        said = await listening.stderr.readuntil(b"Listening for your tasks.")
        said += await listening.stderr.readline()
        while not (secret := re.search(rb"whsec_\S+", said)):
            said += await listening.stderr.readline()
        task = await s3.submit((await s3.upload(shapes())).image_url, "red circle")
        await eventually(lambda: log.read_bytes().endswith(b"\n"), 30)
    finally:
        listening.terminate()
        await listening.wait()
    told = TaskEvent.model_validate_json(came[0][1])
    row = await s3.result(task.task_id)
    assert (told.data.task_id, told.data.finished_at) == (row.task_id, row.finished_at)
    assert told.data.instance_count == row.instance_count

    replayed = await asyncio.to_thread(
        subprocess.run,
        [
            *(sys.executable, "-m", "s3_sam3.cli", "replay", "--from", str(log), "--target", url),
            *("--mode", "recover", "--yes"),
        ],
        env={**environment, "REPLAY_SECRET": secret[0].decode()},
        check=False,
    )

    assert replayed.returncode == 0
    assert came[1][1] == came[0][1]
    for headers, body in came:
        signatures.verify([secret[0].decode()], headers, body, time.time())
    assert came[0][0]["webhook-id"] == came[1][0]["webhook-id"]


def test_the_command_is_the_tool(tmp_path: Path) -> None:
    """Options, help and exit codes of `s3 replay` and `s3 record` are the tool's own."""

    def code(*arguments: str) -> int:
        return subprocess.run(
            [sys.executable, "-m", "s3_sam3.cli", *arguments],
            env={**os.environ, "XDG_STATE_HOME": str(tmp_path)},
            capture_output=True,
            check=False,
        ).returncode

    (tmp_path / "empty.ndjson").touch()
    assert code("replay", "--help") == 0
    assert code("record", "--help") == 0
    assert code("replay", "--from", str(tmp_path / "empty.ndjson")) == 3
    assert code("replay", "--from", str(tmp_path / "empty.ndjson"), "--yes") == 0
    assert code("replay", "--from", str(tmp_path / "none.ndjson")) == 2
    assert code("replay", "--mood", "x") == 2
