"""`s3 worker`: the model and the listener together on a GPU host, a pair for each device."""

import asyncio
import functools
import os
import secrets
import signal
from collections.abc import Sequence
from typing import Annotated, Any, Final

import httpx
import typer

from cli import devices
from cli.devices import Device
from cli.processes import Program, ProgramEnded, Programs
from s3_sam3 import S3Error
from s3_sam3.cli import Exit, show
from s3_sam3.contracts import pipeline


PIPELINE_STOP_SECONDS = 10.0
DEFAULT_GRACE_SECONDS = 30.0
"""The listener's own default (docs/settings.md)."""

LISTENER_MARGIN_SECONDS = 10.0
"""Added to the listener's own grace, before it is killed."""

HEALTH_SECONDS = 2.0
"""For a pipeline to answer `/health`."""

DEFAULT_PORT: Final = "8081"
"""The pipeline's own default."""


class SettingMissing(S3Error):
    """A required setting is missing."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(f"Set {' and '.join(names)} first; `.env.example` explains each.")


REQUIRED = ("SUPABASE_URL", "SUPABASE_ANON_KEY")

BUCKET_KEYS = ("R2_ENDPOINT", "R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY", "R2_BUCKET")
"""For a trusted host; without them the Edge Function job-urls signs."""

SECRETS = (
    *BUCKET_KEYS,
    "SUPABASE_SERVICE_KEY",
    "S3_MACHINE_PASSWORD",
    "LISTENER_WEBHOOK_SECRETS",
    "LISTENER_WEBHOOK_SHARED_SECRET",
)


def programs(env: dict[str, str], device: Device = devices.ONLY) -> tuple[Program, Program]:
    """The pipeline and the listener of one device; both are restarted when they die."""
    given = {**os.environ, **env}
    own = device.environment(
        port=given.get("PIPELINE_PORT") or DEFAULT_PORT,
        webhook_port=given.get("LISTENER_WEBHOOK_PORT", ""),
    )
    grace = float(given.get("LISTENER_GRACE_SECONDS") or DEFAULT_GRACE_SECONDS)
    shared = {
        **env,
        **own,
        "API_SECRET_KEY": given.get("API_SECRET_KEY") or secrets.token_hex(32),
        "LISTENER_PIPELINE_URL": f"http://127.0.0.1:{own['PIPELINE_PORT']}",
    }
    # The model's process does not talk to the platform, so it gets none of its keys.
    no_secrets = dict.fromkeys(SECRETS, "")
    return (
        Program(
            name=f"pipeline{device.suffix}",
            module="pipeline",
            env={**shared, **no_secrets},
            restart=True,
            is_defunct=functools.partial(_lost_its_gpu, own["PIPELINE_PORT"]),
            stop_seconds=PIPELINE_STOP_SECONDS,
        ),
        Program(
            name=f"listener{device.suffix}",
            module="listener",
            env=shared,
            restart=True,
            stop_seconds=grace + LISTENER_MARGIN_SECONDS,
        ),
    )


def worker(
    device_list: Annotated[
        str | None,
        typer.Option(
            "--devices",
            metavar="LIST",
            help="One model on each of these, as cuda:0,cuda:1. Without it: SAM3_DEVICE.",
        ),
    ] = None,
) -> None:
    """Run models and listeners until Ctrl-C; claimed tasks are finished or released."""
    port = os.environ.get("PIPELINE_PORT") or DEFAULT_PORT
    chosen = devices.parse(device_list, port=port)
    missing = [name for name in REQUIRED if not os.environ.get(name)]
    if missing:
        raise SettingMissing(missing)
    raise SystemExit(asyncio.run(_work(chosen)))


async def _work(chosen: Sequence[Device]) -> int:
    stop = stop_asked()
    pairs = [Programs(note=_note) for _ in chosen]
    for pair, device in zip(pairs, chosen, strict=True):
        for program in programs({}, device):
            pair.start(program)
    try:
        return await run_until_last(pairs, stop)
    finally:
        await asyncio.gather(*(pair.stop() for pair in pairs))


async def run_until(group: Programs, stop: asyncio.Event) -> int:
    """Run until *stop* or until a program ends for good; give the exit code."""
    return await run_until_last([group], stop)


async def run_until_last(groups: Sequence[Programs], stop: asyncio.Event) -> int:
    """Run until *stop* or until each group has lost a program for good; give the exit code."""
    stopped = asyncio.create_task(stop.wait())
    running = [asyncio.create_task(_run_group(group)) for group in groups]
    ended = asyncio.gather(*running)
    either: set[asyncio.Future[Any]] = {stopped, ended}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        return max(ended.result()) if ended.done() and not stopped.done() else Exit.OK
    finally:
        stopped.cancel()
        ended.cancel()
        await asyncio.gather(stopped, *running, return_exceptions=True)


async def _run_group(group: Programs) -> int:
    """Run a group until one of its programs ends for good, then stop the others."""
    try:
        await group.wait()
    except (S3Error, OSError) as error:
        show.err.print(f"[red]{error}[/]")
        code = error.code if isinstance(error, ProgramEnded) else Exit.REFUSED
    else:
        code = Exit.OK
    await group.stop()
    return code


async def _lost_its_gpu(port: str) -> bool:
    """Whether the pipeline reports `defunct`, so that it must be started again."""
    try:
        async with httpx.AsyncClient(timeout=HEALTH_SECONDS) as http:
            found = (await http.get(f"http://127.0.0.1:{port}/health")).json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        # It is loading or dying; its exit code will tell.
        return False
    return isinstance(found, dict) and found.get("status") == pipeline.Health.DEFUNCT


def _note(text: str) -> None:
    show.err.print(f"[yellow]{text}[/]")


def stop_asked() -> asyncio.Event:
    """Give an event that SIGINT and SIGTERM set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    return stop
