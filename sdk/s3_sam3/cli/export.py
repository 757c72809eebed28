"""
`s3 export` and `s3 rethreshold`: other files of a result, made without the GPU.

`export` writes other formats on this machine; `rethreshold` chooses the
instances again, at no price.
"""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal
from uuid import UUID

import typer
from pydantic import ValidationError

from s3_sam3 import S3Error, exports
from s3_sam3.cli import config, manifests, show
from s3_sam3.contracts import limits
from s3_sam3.contracts.bodies import RethresholdRequest
from s3_sam3.contracts.manifest import Manifest
from s3_sam3.exports import FORMATS, ExportOptions, FormatName, OverlayStyle, Pictured, rasters
from s3_sam3.exports.contours import DEFAULT_TOLERANCE
from s3_sam3.imaging import choose
from s3_sam3.imaging.overlay import PLAIN
from s3_sam3.segmentation import save


SourceList = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE",
        help="manifest.json files, folders that `s3 segment --out` wrote, or ids of tasks.",
        show_default=False,
    ),
]
Format = Annotated[
    FormatName,
    typer.Option("--format", "-f", metavar="NAME", help="One of the above.", show_default=False),
]
Out = Annotated[Path, typer.Option("--out", "-o", file_okay=False, help="Folder for the files.")]
Picture = Annotated[
    Path | None,
    typer.Option(
        exists=True,
        dir_okay=False,
        help="The original picture, where it is not known; for one source.",
    ),
]
Tolerance = Annotated[
    float,
    typer.Option(min=0, help="Pixels that polygons may differ from the exact contours; 0: exact."),
]
AsPolygons = Annotated[
    bool, typer.Option("--polygons", help="coco: polygons instead of run lengths.")
]
Tint = Annotated[float, typer.Option(min=0, max=1, help="overlay: share of an instance's colour.")]
Contour = Annotated[
    int | None, typer.Option(min=0, help="overlay: width of contours in pixels; 0: none.")
]
Tags = Annotated[bool, typer.Option(help="overlay: write prompts and scores.")]
Colours = Annotated[
    Literal["auto", "instance", "prompt"],
    typer.Option(help="overlay: what has a colour of its own."),
]


def export(
    sources: SourceList,
    format_: Format,
    out: Out,
    picture: Picture = None,
    tolerance: Tolerance = DEFAULT_TOLERANCE,
    polygons: AsPolygons = False,
    tint: Tint = PLAIN.tint,
    contour: Contour = None,
    tags: Tags = True,
    colours: Colours = PLAIN.colours,
    as_json: show.AsJson = False,
) -> None:
    found = manifests.parse_sources(sources, picture)
    items = asyncio.run(_read(found, picture, with_picture=FORMATS[format_].uses_picture))
    options = ExportOptions(
        tolerance=tolerance,
        coco_polygons=polygons,
        style=OverlayStyle(tint=tint, contour=contour, tags=tags, colours=colours),
    )
    paths = exports.export(items, format_, out, options)
    if as_json:
        show.as_json({"format": format_, "files": [str(path) for path in paths]})
        return
    count = sum(item.manifest.instance_count for item in items)
    show.out.print(
        f"{show.counted(len(items), 'picture')}, {show.counted(count, 'instance')}:"
        f" {show.counted(len(paths), 'file')} in {out}",
        soft_wrap=True,
    )


export.__doc__ = "Write results in another format, without the GPU.\n\n\b\n" + "\n".join(
    f"{name:<9} {FORMATS[name].description}" for name in FormatName
)


async def _read(
    found: manifests.Sources, picture: Path | None, *, with_picture: bool
) -> list[Pictured]:
    online = manifests.from_service(found.tasks, picture, with_picture=with_picture)
    return [
        *(manifests.from_file(path, picture) for path in found.files),
        *[item async for item in online],
    ]


class CannotRethreshold(S3Error):
    """The manifest does not keep what the new thresholds need."""


Source = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="A manifest.json, a folder that `s3 segment --out` wrote, or a task's id.",
        show_default=False,
    ),
]
Threshold = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="Lowest score kept; at least the task's --floor."),
]
PromptThresholds = Annotated[
    list[str] | None,
    typer.Option(metavar="ID=X", help="The threshold of one prompt; p0 is the first."),
]
MinArea = Annotated[int | None, typer.Option(min=0, help="Drop masks of fewer pixels.")]
Nms = Annotated[
    float | None,
    typer.Option(help="Drop the worse of two masks that overlap this much (IoU, over 0 to 1)."),
]
MaxInstances = Annotated[
    int | None,
    typer.Option(min=1, max=limits.MAX_INSTANCES_TILED, help="Most kept per prompt, best first."),
]
FilesTo = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        file_okay=False,
        help="Folder for manifest and mask, and for the overlay when the picture is known.",
    ),
]
Original = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="The original picture, for the overlay."),
]


def rethreshold(
    source: Source,
    threshold: Threshold = None,
    prompt: PromptThresholds = None,
    min_area: MinArea = None,
    nms: Nms = None,
    max_instances: MaxInstances = None,
    out: FilesTo = None,
    picture: Original = None,
    as_json: show.AsJson = False,
) -> None:
    request = _request(
        threshold=threshold,
        thresholds=dict(_own_threshold(each) for each in prompt or []),
        min_area=min_area,
        nms=nms,
        max_instances=max_instances,
    )
    found = manifests.parse_sources([source], picture)
    items = [_locally(manifests.from_file(path, picture), request) for path in found.files]
    if found.tasks:
        with_picture = out is not None
        items += asyncio.run(
            _by_service(found.tasks[0], request, picture, with_picture=with_picture)
        )
    paths = _save(items, out) if out is not None else []
    if as_json:
        show.as_json(
            {
                "files": [str(path) for path in paths],
                "manifests": {item.name: item.manifest.model_dump(mode="json") for item in items},
            }
        )
        return
    for item in items:
        if len(items) > 1:
            show.out.rule(item.name, align="left")
        show.out.print(show.instances(item.manifest))
    for path in paths:
        show.out.print(str(path), soft_wrap=True)


def _request(**changes: object) -> RethresholdRequest:
    """Raises a usage error when nothing is to be changed, or when a value is wrong."""
    given = {name: value for name, value in changes.items() if value not in (None, {})}
    if not given:
        msg = "say what to change: --threshold, --prompt, --min-area, --nms or --max-instances."
        raise typer.BadParameter(msg)
    try:
        return RethresholdRequest.model_validate(given)
    except ValidationError as error:
        fault = error.errors()[0]
        msg = f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}."
        raise typer.BadParameter(msg) from None


def _own_threshold(text: str) -> tuple[str, float]:
    """Read `p0=0.7`; an id may have a `=` in it."""
    name, _, value = text.rpartition("=")
    try:
        return name, float(value)
    except ValueError:
        msg = f"{text!r} is not ID=X, as in p0=0.7."
        raise typer.BadParameter(msg) from None


def _locally(item: Pictured, request: RethresholdRequest) -> Pictured:
    try:
        return replace(item, manifest=choose.rethreshold(item.manifest, request))
    except choose.RethresholdError as error:
        msg = f"{item.name}: {error}"
        raise CannotRethreshold(msg) from error


async def _by_service(
    task_id: UUID, request: RethresholdRequest, picture: Path | None, *, with_picture: bool
) -> list[Pictured]:
    """Let the service do it; with the picture where an overlay is to be written."""
    changes = request.model_dump(exclude_defaults=True)
    async with config.client() as s3:
        manifest: Manifest = await s3.rethreshold(task_id, **changes)
    if not with_picture:
        return [Pictured(name=str(task_id), manifest=manifest)]
    items = manifests.from_service([task_id], picture, with_picture=True)
    return [replace(item, manifest=manifest) async for item in items]


def _save(items: list[Pictured], out: Path) -> list[Path]:
    """Write the files of `s3 segment --out`; several results have a folder each."""
    paths: list[Path] = []
    for item in items:
        folder = out / item.name if len(items) > 1 else out
        overlay = None if item.picture is None else rasters.overlay_webp(item)
        paths += save(folder, item.manifest, rasters.labels_png(item), overlay).values()
    return paths
