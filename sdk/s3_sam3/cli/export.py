"""`s3 export`: results in other formats, made on this machine."""

import asyncio
from pathlib import Path
from typing import Annotated, Literal

import typer

from s3_sam3 import exports
from s3_sam3.cli import manifests, show
from s3_sam3.exports import FORMATS, ExportOptions, FormatName, OverlayStyle, Pictured
from s3_sam3.exports.contours import DEFAULT_TOLERANCE
from s3_sam3.imaging.overlay import PLAIN


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
