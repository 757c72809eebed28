"""`s3 worker`: the model and the listener together on a GPU host, a pair for each device."""

import asyncio
import functools
import os
import re
import secrets
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

import httpx
import typer

from cli.processes import Program, ProgramEnded, Programs
from s3_sam3 import S3Error
from s3_sam3.cli import Exit, show
from s3_sam3.contracts import pipeline


_KNOWN: Final = re.compile(r"auto|cpu|cuda(:\d{1,3})?")
_LAST_PORT: Final = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device with a pipeline and a listener of its own."""

    name: str | None = None
    """Value of `SAM3_DEVICE`; None: as it is set already."""
    number: int | None = None
    """Among several, from 0; None: it is the only one."""

    @property
    def suffix(self) -> str:
        """Tells its programs' names from those of other devices."""
        return "" if self.number is None else f"-{self.number}"

    def environment(self, *, port: str, webhook_port: str = "") -> dict[str, str]:
        """Settings of its programs beside the host's: device and ports."""
        given = {"PIPELINE_PORT": port}
        if self.name is not None:
            given["SAM3_DEVICE"] = self.name
        if self.number is not None:
            given["PIPELINE_PORT"] = str(int(port) + self.number)
            if webhook_port:
                given["LISTENER_WEBHOOK_PORT"] = str(int(webhook_port) + self.number)
        return given


ONLY: Final = Device()
"""The device of a host without `--devices`."""


def parse_devices(text: str | None, *, port: str) -> list[Device]:
    """
    Read `cuda:0,cuda:1`, of which the first gets *port*; None: the one device that is set already.

    Raises: typer.BadParameter.
    """
    if text is None:
        return [ONLY]
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if not _KNOWN.fullmatch(name):
            raise typer.BadParameter(
                f"{name!r} is no device. Write cpu, cuda or cuda:N, with commas between them."
            )
    if len(names) == 1:
        return [Device(name=names[0])]
    _check_side_by_side(names)
    _check_ports(port, len(names))
    return [Device(name=name, number=number) for number, name in enumerate(names)]


def _check_side_by_side(names: list[str]) -> None:
    """Several `cpu` are allowed: the tests use them."""
    if "auto" in names:
        raise typer.BadParameter("auto means the one device that there is, so it stands alone.")
    gpus = ["cuda:0" if name == "cuda" else name for name in names if name.startswith("cuda")]
    for gpu in gpus:
        if gpus.count(gpu) > 1:
            raise typer.BadParameter(
                f"{gpu} is named twice. A second model would only take memory from the first;"
                " LISTENER_CONCURRENCY gives one model more work."
            )


def _check_ports(port: str, count: int) -> None:
    if not port.isdecimal() or not 1 <= int(port) <= _LAST_PORT + 1 - count:
        raise typer.BadParameter(
            f"{count} devices need {count} ports from PIPELINE_PORT on, which is {port!r}."
        )


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


def programs(env: dict[str, str], device: Device = ONLY) -> tuple[Program, Program]:
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
    chosen = parse_devices(device_list, port=port)
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
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    return stop
