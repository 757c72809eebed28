"""`s3 segment`: upload, submit, wait, download."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from s3_sam3 import Segmentation
from s3_sam3.cli import arguments, batch_folder, config, segment_many, show
from s3_sam3.cli.batch import Request
from s3_sam3.contracts import bodies, limits
from s3_sam3.contracts.prompts import Prompt, SegmentOptions, with_ids


What = Annotated[
    list[str],
    typer.Argument(
        metavar="PICTURE|PROMPT",
        help="JPEG, PNG or WebP: files, patterns, folders with a closing slash; and short noun"
        ' phrases: "red circle".',
        show_default=False,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        file_okay=False,
        help="Folder for manifest, mask and overlay; of several pictures, a pattern or a folder"
        " each has a folder in it, and pictures that are done are not sent again.",
    ),
]
Threshold = Annotated[float, typer.Option(min=0, max=1, help="Lowest score kept.")]
MaskThreshold = Annotated[
    float, typer.Option(help="Probability from which a pixel counts, over 0 and under 1.")
]
MaxInstances = Annotated[
    int, typer.Option(min=1, help="Most instances kept per prompt, best first.")
]
MinArea = Annotated[int, typer.Option(min=0, help="Drop masks of fewer pixels.")]
Nms = Annotated[
    float | None,
    typer.Option(
        help="Drop the worse of two masks that overlap this much (IoU, over 0 to 1),"
        " whichever prompts found them."
    ),
]
Region = Annotated[str | None, typer.Option(metavar="X1,Y1,X2,Y2", help="Look only here; pixels.")]
Tiles = Annotated[
    int,
    typer.Option(
        min=1,
        max=limits.MAX_TILES,
        help="n: also look at n x n tiles, for small or very many objects;"
        " then a prompt costs n x n + 1 credits.",
    ),
]
Floor = Annotated[
    float,
    typer.Option(min=0, max=1, help="Keep candidates down to this score for `s3 rethreshold`."),
]
Boxes = Annotated[
    list[str] | None,
    typer.Option(
        metavar="X1,Y1,X2,Y2[:negative]",
        help="An example of what the prompts mean, or do not mean; for one picture.",
    ),
]
Jobs = Annotated[int, typer.Option("--jobs", "-j", min=1, max=64, help="Pictures at a time.")]
Timeout = Annotated[
    float | None, typer.Option(help="Seconds to wait for a picture; its task goes on after them.")
]
Deadline = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=limits.MAX_DEADLINE_SECONDS,
        help="Seconds until a task that is still pending is cancelled; that costs nothing.",
    ),
]
MemoryMb = Annotated[
    int | None, typer.Option(min=1, help="Only on a machine with this much GPU memory (MiB).")
]


def segment(
    what: What,
    out: Out = None,
    threshold: Threshold = limits.DEFAULT_SCORE_THRESHOLD,
    mask_threshold: MaskThreshold = limits.DEFAULT_MASK_THRESHOLD,
    max_instances: MaxInstances = limits.MAX_INSTANCES,
    min_area: MinArea = 0,
    nms: Nms = None,
    region: Region = None,
    tiles: Tiles = 1,
    floor: Floor = limits.DEFAULT_FLOOR,
    box: Boxes = None,
    jobs: Jobs = 4,
    timeout: Timeout = None,
    deadline: Deadline = None,
    memory_mb: MemoryMb = None,
    as_json: show.AsJson = False,
) -> None:
    given = arguments.parse(what)
    options = _options(
        threshold=threshold,
        mask_threshold=mask_threshold,
        max_instances=max_instances,
        min_area=min_area,
        nms=nms,
        region=None if region is None else arguments.edges(region),
        tiles=tiles,
        floor=floor,
    )
    request = Request(
        prompts=_prompts(given, box or []),
        options=options,
        needs=None if memory_mb is None else bodies.Needs(memory_mb=memory_mb),
        deadline=deadline,
        timeout=timeout,
    )
    if len(given.pictures) > 1 or (out is not None and (given.many or batch_folder.is_batch(out))):
        segment_many.segment_many(given.pictures, request, out, jobs=jobs, as_json=as_json)
        return
    _show(asyncio.run(_segment(given.pictures[0], request)), out, as_json=as_json)


def _options(**chosen: object) -> SegmentOptions:
    """Raises a usage error that names the wrong option."""
    try:
        return SegmentOptions.model_validate(chosen)
    except ValidationError as error:
        fault = error.errors()[0]
        name = "".join(f"--{part}: " for part in fault["loc"][:1]).replace("_", "-")
        msg = f"{name}{fault['msg'].removeprefix('Value error, ')}."
        raise typer.BadParameter(msg) from None


def _prompts(given: arguments.Arguments, examples: list[str]) -> tuple[Prompt, ...]:
    """The prompts with their boxes. Raises a usage error when something is missing."""
    if not given.pictures:
        msg = 'name a picture, as in: s3 segment photo.jpg "red circle"'
        raise typer.BadParameter(msg)
    if examples and len(given.pictures) > 1:
        msg = "--box is in pixels of one picture; here are several."
        raise typer.BadParameter(msg)
    if len(given.prompts) > limits.MAX_PROMPTS_PER_TASK:
        msg = f"{len(given.prompts)} prompts; a task takes {limits.MAX_PROMPTS_PER_TASK}."
        raise typer.BadParameter(msg)
    boxes = tuple(arguments.box(each) for each in examples)
    if not given.prompts and not boxes:
        msg = 'say what to look for, as in: s3 segment photo.jpg "red circle"'
        raise typer.BadParameter(msg)
    return with_ids(tuple(Prompt(text=text, boxes=boxes) for text in given.prompts or (None,)))


def _show(found: Segmentation, out: Path | None, *, as_json: bool) -> None:
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
        show.err.print(show.DEMO_NOTE)
    for path in paths.values():
        show.out.print(str(path), soft_wrap=True)
    if out is None:
        show.err.print(f"[dim]No files kept; -o DIR keeps them. Task {found.result.task_id}[/]")


async def _segment(picture: Path, request: Request) -> Segmentation:
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
                *request.prompts,
                options=request.options,
                deadline_seconds=request.deadline,
                needs=request.needs,
                timeout_seconds=request.timeout,
                on_change=moved,
            )
