"""The arguments of `s3 segment`: pictures and prompts told apart, boxes read."""

import glob
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import typer
from PIL import Image, UnidentifiedImageError
from pydantic import ValidationError

from s3_sam3.contracts.prompts import Box


#: Suffixes of pictures, also of formats that the service refuses by name.
_SUFFIXES: Final = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif"}
)

#: What is taken from a folder: what the service reads.
_READABLE: Final = frozenset({".jpg", ".jpeg", ".png", ".webp"})

Edges = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    pictures: tuple[Path, ...]
    prompts: tuple[str, ...]
    many: bool
    """Several pictures, or a pattern or folder, which may match several tomorrow."""


def parse(arguments: Iterable[str]) -> Arguments:
    """
    Sort arguments into pictures and prompts, in their order.

    Pictures are files that exist, patterns that match (`'photos/*.jpg'`), and folders written with
    a closing slash (`photos/`). An argument that looks like one of these and is not there is a
    usage error. The rest are prompts, also names of files that are no pictures, except the first.
    """
    pictures: list[Path] = []
    prompts: list[str] = []
    many = False
    for index, argument in enumerate(arguments):
        found = _pictures(argument, first=index == 0)
        if found:
            pictures += found
            many = many or not Path(argument).is_file()
        elif _looks_like_a_file(argument):
            raise typer.BadParameter(_missing(argument))
        else:
            prompts.append(argument)
    unique = tuple(dict.fromkeys(pictures))
    return Arguments(
        pictures=unique, prompts=tuple(dict.fromkeys(prompts)), many=many or len(unique) > 1
    )


def edges(text: str) -> Edges:
    """Read `x1,y1,x2,y2`: left, top, right, bottom in pixels. Raises a usage error."""
    try:
        left, top, right, bottom = (float(part) for part in text.split(","))
    except ValueError:
        msg = f"{text!r} is not x1,y1,x2,y2 (left, top, right, bottom in pixels)."
        raise typer.BadParameter(msg) from None
    return left, top, right, bottom


def box(text: str) -> Box:
    """Read `x1,y1,x2,y2` or `x1,y1,x2,y2:negative`. Raises a usage error."""
    numbers, _, label = text.partition(":")
    try:
        return Box.model_validate({"xyxy": edges(numbers), "label": label or "positive"})
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        msg = f"{text!r}: {reason.removeprefix('Value error, ')}."
        raise typer.BadParameter(msg) from None


def _pictures(argument: str, *, first: bool) -> list[Path]:
    path = Path(argument)
    if path.is_file():
        return [path] if first or _is_picture(path) else []
    if argument.endswith("/") and path.is_dir():
        return sorted(each for each in path.iterdir() if each.suffix.lower() in _READABLE)
    if glob.has_magic(argument):
        return [Path(each) for each in sorted(glob.glob(argument)) if Path(each).is_file()]  # noqa: PTH207 - a pattern may be absolute
    return []


def _is_picture(path: Path) -> bool:
    if path.suffix.lower() in _SUFFIXES:
        return True
    try:
        with Image.open(path):
            return True
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError):
        return False


def _looks_like_a_file(argument: str) -> bool:
    return argument.endswith("/") or Path(argument).suffix.lower() in _SUFFIXES


def _missing(argument: str) -> str:
    if Path(argument).is_dir():
        return f"{argument}: this folder has no JPEG, PNG or WebP in it."
    if glob.has_magic(argument):
        return f"{argument}: no file matches."
    if argument.endswith("/"):
        return f"{argument}: no such folder."
    return f"{argument}: no such file. (Its ending says it is a picture; a prompt is a phrase.)"
