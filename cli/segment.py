"""`s3 segment`: the main job from a terminal."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from cli import config, show
from client import Segmentation
from contracts import bodies, limits
from contracts.prompts import SegmentOptions


def segment(
    picture: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="JPEG, PNG or WebP.")
    ],
    prompts: Annotated[list[str], typer.Argument(help='Short noun phrases: "red circle".')],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for manifest, mask and overlay.")
    ] = None,
    threshold: Annotated[
        float, typer.Option(min=0, max=1, help="Lowest score kept.")
    ] = limits.DEFAULT_SCORE_THRESHOLD,
    timeout: Annotated[
        float | None, typer.Option(help="Stop waiting after so many seconds; the task goes on.")
    ] = None,
    deadline: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=limits.MAX_DEADLINE_SECONDS,
            help="Cancel it if it still waits after so many seconds; that costs nothing.",
        ),
    ] = None,
    memory_mb: Annotated[
        int | None,
        typer.Option(min=1, help="Only on a machine with so much GPU memory (MiB)."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Find every instance of each concept in a picture."""
    found = asyncio.run(
        _segment(
            picture,
            prompts,
            options=SegmentOptions(threshold=threshold),
            needs=None if memory_mb is None else bodies.Needs(memory_mb=memory_mb),
            deadline=deadline,
            timeout=timeout,
        )
    )
    paths = found.save(out) if out is not None else {}
    if as_json:
        show.as_json(
            {
                "task_id": str(found.result.task_id),
                "files": {name: str(path) for name, path in paths.items()},
                "manifest": found.manifest.model_dump(mode="json"),
            }
        )
        return
    show.out.print(show.instances(found.manifest))
    if found.manifest.model.demo:
        show.err.print("[dim]Found by a demo model, which knows coloured shapes only.[/]")
    for path in paths.values():
        show.out.print(str(path), soft_wrap=True)
    if out is None:
        show.err.print(f"[dim]No files kept; -o DIR keeps them. Task {found.result.task_id}[/]")


async def _segment(
    picture: Path,
    prompts: list[str],
    *,
    options: SegmentOptions,
    needs: bodies.Needs | None,
    deadline: int | None,
    timeout: float | None,
) -> Segmentation:
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TimeElapsedColumn(),
        console=show.err,
        transient=True,
    ) as progress:
        bar = progress.add_task("uploading", total=1.0)

        def moved(task: bodies.Task) -> None:
            progress.update(bar, description=show.waits(task), completed=task.progress)

        async with config.client() as s3:
            return await s3.segment(
                picture,
                *prompts,
                options=options,
                deadline_seconds=deadline,
                needs=needs,
                timeout_seconds=timeout,
                on_change=moved,
            )
