"""`s3 up`: a whole S3 on this machine, for development."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from cli.local import Local, Place, tiny_weights
from cli.worker import run_until, stop_asked
from s3_sam3.cli import config, show


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
