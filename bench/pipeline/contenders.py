"""The servers as processes of their own, each behind the same interface."""

import asyncio
import base64
import contextlib
import json
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

from cli.local import free_port
from s3_sam3.contracts.pipeline import (
    API_KEY_HEADER,
    IMAGE_PART,
    REQUEST_PART,
    Health,
    PredictRequest,
)


KEY: Final = "a-key-for-benchmarks"
_BOUNDARY: Final = "--------a-boundary-of-the-benchmark"
_START_SECONDS: Final = 300
"""SAM3's own size is read and questioned in one to two minutes on a CPU."""
_END_SECONDS: Final = 10

Bytes = tuple[bytes, dict[str, str]]
"""A request's body and its headers, written before the clock starts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server: where to post, and how a request is written for it."""

    name: str
    url: str
    pid: int
    write: Callable[[bytes, PredictRequest], Bytes]


def ours_body(image: bytes, request: PredictRequest) -> Bytes:
    """Write the form that the listener sends."""
    parts = (
        (REQUEST_PART, "application/json", request.model_dump_json().encode()),
        (IMAGE_PART, "application/octet-stream", image),
    )
    written = b"".join(
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="x"\r\n'
        f"Content-Type: {kind}\r\n\r\n".encode()
        + content
        + b"\r\n"
        for name, kind, content in parts
    )
    headers = {
        "Content-Type": f"multipart/form-data; boundary={_BOUNDARY}",
        API_KEY_HEADER: KEY,
    }
    return written + f"--{_BOUNDARY}--\r\n".encode(), headers


def litserve_body(image: bytes, request: PredictRequest) -> Bytes:
    """Write the JSON that LitServe's examples send."""
    prompts = [prompt.model_dump(mode="json", exclude_defaults=True) for prompt in request.prompts]
    asked = {"image": base64.b64encode(image).decode(), "prompts": prompts}
    return json.dumps(asked).encode(), {"Content-Type": "application/json"}


@contextlib.asynccontextmanager
async def ours(weights: Path, device: str) -> AsyncIterator[Server]:
    """Serve with `python -m pipeline`."""
    port = free_port()
    settings = {
        "API_SECRET_KEY": KEY,
        "PIPELINE_PORT": str(port),
        "SAM3_WEIGHTS_PATH": str(weights),
        "SAM3_DEVICE": device,
        "S3_LOG_FORMAT": "json",
        # A random model finds no circle.
        "SAM3_SELF_TEST": "finite",
    }
    async with _process("pipeline", settings=settings) as process:
        await _until(process, f"http://127.0.0.1:{port}/health", _is_ready)
        url = f"http://127.0.0.1:{port}/api/v1/predict"
        yield Server(name="ours", url=url, pid=process.pid, write=ours_body)


@contextlib.asynccontextmanager
async def litserve(
    weights: Path, device: str, *, workers: int, batch: int, threads: int
) -> AsyncIterator[Server]:
    """Serve the plain example with LitServe."""
    port = free_port()
    arguments = (port, weights, device, workers, batch, threads)
    async with _process("bench.pipeline.litserved", *map(str, arguments)) as process:
        await _until(process, f"http://127.0.0.1:{port}/health", lambda status, _: status == 200)
        url = f"http://127.0.0.1:{port}/predict"
        name = f"LitServe, {workers} workers, batches of {batch}"
        yield Server(name=name, url=url, pid=process.pid, write=litserve_body)


def _is_ready(status: int, body: str) -> bool:
    return status == 200 and json.loads(body)["status"] in {Health.READY, Health.BUSY}


@contextlib.asynccontextmanager
async def _process(
    module: str, *arguments: str, settings: dict[str, str] | None = None
) -> AsyncIterator[Process]:
    """Run a module until the end of the block. Its logs are discarded."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments),
        env={**os.environ, **(settings or {})},
        stdout=asyncio.subprocess.DEVNULL,
        start_new_session=True,
        stderr=None if os.environ.get("BENCH_LOGS") else asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        await _end(process)


async def _end(process: Process) -> None:
    """End its whole process group: LitServe's children outlive it."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _END_SECONDS)
    finally:  # also when the benchmark itself is told to end meanwhile
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


async def _until(process: Process, url: str, is_ready: Callable[[int, str], Any]) -> None:
    async with asyncio.timeout(_START_SECONDS), aiohttp.ClientSession() as http:
        while process.returncode is None:
            with contextlib.suppress(aiohttp.ClientError):
                async with http.get(url) as answer:
                    if is_ready(answer.status, await answer.text()):
                        return
            await asyncio.sleep(0.05)
    msg = f"the server ended with {process.returncode}; BENCH_LOGS=1 shows what it said"
    raise RuntimeError(msg)
