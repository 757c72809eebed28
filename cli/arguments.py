"""Which arguments of `s3 segment` are pictures and which are prompts."""

import glob
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import typer
from PIL import Image, UnidentifiedImageError


#: Endings that say "this is a file", also of formats that the service refuses by name.
_ENDINGS: Final = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif"}
)

#: What is taken from a folder: what the service reads.
_READ: Final = frozenset({".jpg", ".jpeg", ".png", ".webp"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A command line, told apart."""

    pictures: tuple[Path, ...]
    prompts: tuple[str, ...]
    many: bool
    """Several pictures, or a pattern or folder, which may match several tomorrow."""


def told_apart(arguments: Iterable[str]) -> Asked:
    """
    Sort arguments into pictures and prompts, each once, in their order.

    Pictures are files that exist, patterns that match (`'photos/*.jpg'`), and folders written with
    a closing slash (`photos/`). What looks like one of these and is not there is a usage error;
    all else is a prompt, also the name of a file that is no picture, unless it comes first.
    """
    pictures: list[Path] = []
    prompts: list[str] = []
    many = False
    for place, argument in enumerate(arguments):
        found = _pictures(argument, first=place == 0)
        if found:
            pictures += found
            many = many or not Path(argument).is_file()
        elif _looks_like_a_file(argument):
            raise typer.BadParameter(_missing(argument))
        else:
            prompts.append(argument)
    several = tuple(dict.fromkeys(pictures))
    return Asked(
        pictures=several, prompts=tuple(dict.fromkeys(prompts)), many=many or len(several) > 1
    )


def _pictures(argument: str, *, first: bool) -> list[Path]:
    path = Path(argument)
    if path.is_file():
        return [path] if first or _is_picture(path) else []
    if argument.endswith("/") and path.is_dir():
        return sorted(each for each in path.iterdir() if each.suffix.lower() in _READ)
    if glob.has_magic(argument):
        return [Path(each) for each in sorted(glob.glob(argument)) if Path(each).is_file()]  # noqa: PTH207 - a pattern may be absolute
    return []


def _is_picture(path: Path) -> bool:
    """By its ending, or by its first bytes when it has none."""
    if path.suffix.lower() in _ENDINGS:
        return True
    try:
        with Image.open(path):
            return True
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError):
        return False


def _looks_like_a_file(argument: str) -> bool:
    return argument.endswith("/") or Path(argument).suffix.lower() in _ENDINGS


def _missing(argument: str) -> str:
    if Path(argument).is_dir():
        return f"{argument}: this folder has no JPEG, PNG or WebP in it."
    if glob.has_magic(argument):
        return f"{argument}: no file matches."
    if argument.endswith("/"):
        return f"{argument}: no such folder."
    return f"{argument}: no such file. (Its ending says it is a picture; a prompt is a phrase.)"
