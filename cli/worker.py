"""`s3 worker`: the model and the listener together, on one GPU host."""

import asyncio
import os
import secrets
import signal

from cli import show
from cli.exits import Exit
from cli.processes import Program, ProgramEnded, Programs
from client import S3Error


PIPELINE_STOP_SECONDS = 10.0
DEFAULT_GRACE_SECONDS = 30.0
"""The listener's own default (docs/settings.md)."""

LISTENER_MARGIN_SECONDS = 10.0
"""Over the listener's own grace, before it is killed."""


class SettingMissing(S3Error):
    """A setting that the worker cannot do without."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(f"Set {' and '.join(names)} first; `.env.example` explains each.")


REQUIRED = (
    "SUPABASE_URL",
    "SUPABASE_ANON_KEY",
    "R2_ENDPOINT",
    "R2_ACCESS_KEY_ID",
    "R2_SECRET_ACCESS_KEY",
    "R2_BUCKET",
)


def programs(env: dict[str, str]) -> tuple[Program, Program]:
    """The pipeline, which is restarted when it dies, and the listener, which feeds it."""
    port = env.get("PIPELINE_PORT") or os.environ.get("PIPELINE_PORT") or "8081"
    key = env.get("API_SECRET_KEY") or os.environ.get("API_SECRET_KEY") or secrets.token_hex(32)
    grace = float(os.environ.get("LISTENER_GRACE_SECONDS") or DEFAULT_GRACE_SECONDS)
    shared = {
        **env,
        "API_SECRET_KEY": key,
        "PIPELINE_PORT": port,
        "LISTENER_PIPELINE_URL": f"http://127.0.0.1:{port}",
    }
    # The model's process needs no way to the platform, so it gets none.
    sealed = dict.fromkeys(("SUPABASE_SERVICE_KEY", "S3_MACHINE_PASSWORD"), "")
    sealed |= {name: "" for name in REQUIRED if name.startswith("R2_")}
    return (
        Program(
            name="pipeline",
            module="pipeline",
            env={**shared, **sealed},
            restart=True,
            stop_seconds=PIPELINE_STOP_SECONDS,
        ),
        Program(
            name="listener",
            module="listener",
            env=shared,
            restart=True,
            stop_seconds=grace + LISTENER_MARGIN_SECONDS,
        ),
    )


def worker() -> None:
    """Run the model and the listener until Ctrl-C; claimed tasks are finished or given back."""
    missing = [name for name in REQUIRED if not os.environ.get(name)]
    if missing:
        raise SettingMissing(missing)
    raise SystemExit(asyncio.run(_work()))


async def _work() -> int:
    stop = stop_asked()
    group = Programs(note=lambda text: show.err.print(f"[yellow]{text}[/]"))
    for program in programs({}):
        group.start(program)
    try:
        return await run_until(group, stop)
    finally:
        await group.stop()


async def run_until(group: Programs, stop: asyncio.Event) -> int:
    """Run until *stop* or until a program ends for good; the exit code."""
    stopped = asyncio.create_task(stop.wait())
    ended = asyncio.create_task(group.wait())
    try:
        await asyncio.wait({stopped, ended}, return_when=asyncio.FIRST_COMPLETED)
        if ended.done() and (error := ended.exception()) is not None:
            show.err.print(f"[red]{error}[/]")
            return error.code if isinstance(error, ProgramEnded) else Exit.REFUSED
        return Exit.OK
    finally:
        for task in (stopped, ended):
            task.cancel()
        await asyncio.gather(stopped, ended, return_exceptions=True)


def stop_asked() -> asyncio.Event:
    """An event set by SIGINT or SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    return stop
