"""`s3 up` and `s3 demo`: a whole S3 on this machine, kept running, or for one picture."""

import asyncio
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from cli.local import Local, Place, free_port, tiny_weights
from cli.worker import run_until, stop_asked
from s3_sam3 import S3Client, S3Error, Segmentation, Session
from s3_sam3.cli import config, show
from s3_sam3.contracts import bodies
from s3_sam3.contracts.tasks import FINAL_STATUSES, TaskStatus


def up(
    state: Annotated[
        Path, typer.Option("--state-dir", help="Where the platform keeps its data.")
    ] = Path(".devstack/up"),
    platform_port: Annotated[int, typer.Option(help="Supabase's port (0: any).")] = 54321,
    api_port: Annotated[int, typer.Option(help="The API's port.")] = 8080,
    pipeline_port: Annotated[int, typer.Option(help="The pipeline's port.")] = 8081,
    worker: Annotated[bool, typer.Option(help="Start a worker on this machine too.")] = True,
) -> None:
    """Start a whole S3 on this machine, with a worker, until Ctrl-C. Its data is kept."""
    place = Place(
        state=state.absolute(),
        platform_port=platform_port,
        api_port=api_port,
        pipeline_port=pipeline_port,
        quiet=False,
    )
    raise SystemExit(asyncio.run(_up(place, with_worker=worker)))


async def _up(place: Place, *, with_worker: bool) -> int:
    stop = stop_asked()
    weights = await tiny_weights() if with_worker else None
    local = Local(place, note=lambda text: show.err.print(f"[yellow]{text}[/]"))
    try:
        await local.start_platform()
        await local.start_api()
        local.start_janitor()
        local.start_dispatcher()
        if with_worker:
            local.start_worker(weights)
            show.err.print(f"Model: {await local.model_ready()}")
        kept = config.remember_service(local.service)
        _explain(local, kept)
        return await run_until(local.programs, stop)
    finally:
        await local.stop()


def _explain(local: Local, kept: Path) -> None:
    service = local.service
    show.err.print(f"[bold green]S3 is up[/] at {service.s3_api_url}")
    for name, value in (
        ("S3_API_URL", service.s3_api_url),
        ("SUPABASE_URL", service.supabase_url),
        ("SUPABASE_ANON_KEY", service.supabase_anon_key),
    ):
        show.out.print(f"{name}={value}", soft_wrap=True, highlight=False)
    show.err.print(
        f"Written to {kept}, so in another terminal:\n"
        "  s3 login --sign-up --email you@example.org\n"
        '  s3 segment photo.jpg "red circle" -o out/'
    )


@dataclass(slots=True)
class Log:
    """Lines with the time, and how long things took."""

    began: float = field(default_factory=time.perf_counter)
    milliseconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.milliseconds[name] = (time.perf_counter() - start) * 1000

    def say(self, text: str) -> None:
        """Print a line with the seconds since the start."""
        show.out.print(f"[dim]{time.perf_counter() - self.began:6.2f} s[/]  {text}", soft_wrap=True)


def demo(
    prompts: Annotated[list[str] | None, typer.Argument(help="What to look for.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the files.")] = Path(
        "out/demo"
    ),
    picture: Annotated[
        Path | None, typer.Option(exists=True, help="Your own picture instead of a drawn one.")
    ] = None,
    state: Annotated[Path, typer.Option("--state-dir", help="The demo's data.")] = Path(
        ".devstack/demo"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON at the end.")] = False,
) -> None:
    place = Place(
        state=state.absolute(),
        platform_port=free_port(),
        api_port=free_port(),
        pipeline_port=free_port(),
        quiet=True,
    )
    asyncio.run(_demo(place, prompts or ["red circle", "yellow star"], out, picture, as_json))


async def _demo(
    place: Place,
    prompts: list[str],
    out: Path,
    picture: Path | None,
    as_json: bool,
) -> None:
    weights = await tiny_weights()
    log = Log()
    local = Local(place, note=lambda text: log.say(f"[yellow]{text}[/]"))
    try:
        log.say("starting PostgreSQL, object store, Auth, REST and Realtime")
        await local.start_platform()
        local.start_worker(weights)
        await local.start_api()
        log.say(f"API at {local.service.s3_api_url}, logs in {place.state / 'logs'}")
        log.say(f"worker ready: {await local.model_ready()}")
        picture = picture or await _draw(out)
        session = await _new_user(local)
        log.say(f"signed up as {session.tokens.email}; picture: {picture}")
        async with S3Client(session, api_url=local.service.s3_api_url) as s3:
            found = await _segment(s3, picture, prompts, log)
        paths = found.save(out)
        if as_json:
            show.as_json(
                {"manifest": found.manifest.model_dump(mode="json"), "ms": log.milliseconds}
            )
            return
        _show(found, paths, log)
    finally:
        await local.stop()


async def _segment(s3: S3Client, picture: Path, prompts: list[str], log: Log) -> Segmentation:
    with log.timed("upload"):
        upload = await s3.upload(picture)
    log.say(f"uploaded {upload.bytes:,} bytes, {upload.width}x{upload.height} px")
    with log.timed("submit"):
        task = await s3.submit(upload.image_url, *prompts)
    log.say(f"task {task.task_id}: {', '.join(prompts)}; {task.credits} credits held")
    log.say(f"{show.status(task.status)} {task.progress:.0%}")
    last = task
    async for state in s3.watch(task.task_id):
        last = state
        if state != task:
            log.say(f"{show.status(state.status)} {state.progress:.0%}")
        if state.status in FINAL_STATUSES and state.finished_at is not None:
            log.milliseconds["notify"] = _since(state.finished_at)
    if last.status is not TaskStatus.DONE:
        raise S3Error(last.error.message if last.error else f"The task ended {last.status}.")
    with log.timed("download"):
        found = await s3.fetch(task.task_id)
    me = await s3.me()
    log.say(f"downloaded; {me.credits} credits left")
    return found


def _show(found: Segmentation, paths: dict[str, Path], log: Log) -> None:
    show.out.print()
    show.out.print(show.instances(found.manifest))
    for name, path in paths.items():
        show.out.print(f"{name:>14}  {path}", soft_wrap=True)
    show.out.print(_times(found.result, log))
    if found.manifest.model.demo:
        show.out.print(
            "[dim]The tiny demo model found these: it knows coloured shapes only. "
            "Set SAM3_WEIGHTS_PATH or HF_TOKEN for SAM3 itself.[/]"
        )


def _times(result: bodies.ResultDetail, log: Log) -> Table:
    measured: dict[str, float] = (result.summary or {}).get("timings", {})
    rows = (
        ("upload", log.milliseconds["upload"], "picture to the object store"),
        ("submit", log.milliseconds["submit"], "row inserted, credits held"),
        ("wait", measured.get("queue_ms"), "insert until a worker claimed it"),
        ("fetch", measured.get("fetch_ms"), "worker reads the picture"),
        ("model", measured.get("model_ms"), "pipeline: decode, SAM3, masks, overlay"),
        ("store", measured.get("store_ms"), "worker writes manifest, mask, overlay"),
        ("notify", log.milliseconds.get("notify"), "settled until the client has the new row"),
        ("download", log.milliseconds["download"], "manifest, mask, overlay to the client"),
    )
    table = Table(title="where the time went", title_justify="left")
    for column in ("part", "ms", "what"):
        table.add_column(column, justify="right" if column == "ms" else "left")
    for name, milliseconds, what in rows:
        table.add_row(name, "?" if milliseconds is None else f"{milliseconds:.1f}", what)
    return table


async def _new_user(local: Local) -> Session:
    return await Session.sign_up(
        supabase_url=local.service.supabase_url,
        anon_key=local.service.supabase_anon_key,
        email=f"demo-{secrets.token_hex(4)}@example.org",
        password=secrets.token_urlsafe(16),
    )


async def _draw(out: Path) -> Path:
    """Draw a picture of coloured shapes, by the code that draws for the training."""
    path = out / "picture.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "ai.scenes", str(path))
    if await process.wait() != 0:
        msg = "The demo picture could not be drawn."
        raise S3Error(msg)
    return path


def _since(moment: datetime) -> float:
    """Milliseconds since a time of the database, which runs on this machine's clock."""
    return (datetime.now(UTC) - moment).total_seconds() * 1000
