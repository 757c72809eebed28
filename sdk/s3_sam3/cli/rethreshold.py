"""`s3 rethreshold`: choose a result's instances again, without the GPU and at no price."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer
from pydantic import ValidationError

from s3_sam3 import S3Error
from s3_sam3.cli import config, manifests, show
from s3_sam3.contracts import limits, object_keys
from s3_sam3.contracts.bodies import RethresholdRequest
from s3_sam3.contracts.manifest import Manifest
from s3_sam3.exports import Pictured, rasters
from s3_sam3.imaging import choose


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
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        file_okay=False,
        help="Folder for manifest and mask, and for the overlay when the picture is known.",
    ),
]
Picture = Annotated[
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
    out: Out = None,
    picture: Picture = None,
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
        files = {
            object_keys.MANIFEST: item.manifest.model_dump_json(indent=1).encode(),
            object_keys.MASK: rasters.labels_png(item),
        }
        if item.picture is not None:
            files[object_keys.OVERLAY] = rasters.overlay_webp(item)
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            (folder / name).write_bytes(data)
            paths.append(folder / name)
    return paths
