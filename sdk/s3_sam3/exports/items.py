"""What is exported: manifests with their pictures, and how files of them are named and written."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from s3_sam3.contracts.manifest import Instance, Manifest, PromptResult
from s3_sam3.errors import S3Error
from s3_sam3.exports.contours import DEFAULT_TOLERANCE
from s3_sam3.imaging import upright
from s3_sam3.imaging.overlay import PLAIN, OverlayStyle


class NoPicture(S3Error):
    """The format draws on the picture, and no file is known to be it."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name}: this format draws on the picture, and no file is known to be it."
            " Name it (--picture)."
        )


class WrongPicture(S3Error):
    """The file is not the picture that the manifest is about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """How files are written; each format uses the options that concern it."""

    tolerance: float = DEFAULT_TOLERANCE
    """Pixels that polygons may differ from the exact contours; 0: exact, with many corners."""
    coco_polygons: bool = False
    """COCO with polygons instead of run lengths: more programs read them; they are not exact."""
    style: OverlayStyle = PLAIN
    """How overlays look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictured:
    """A manifest to export, and the picture that it is about."""

    name: str
    """Stem of its files' names: no folder, no suffix."""
    manifest: Manifest
    picture: Path | bytes | None = None
    """The original, as it was uploaded."""
    file_name: str | None = None
    """The picture's name in a data set, when it is not *picture*'s own."""

    @property
    def picture_name(self) -> str:
        """The picture's file name in a data set."""
        if self.file_name is not None:
            return self.file_name
        suffix = self.picture.suffix if isinstance(self.picture, Path) else ""
        return f"{self.name}{suffix or '.jpg'}"

    def instances(self) -> Iterable[tuple[PromptResult, Instance]]:
        """Every instance that has pixels, with the prompt that found it, in order of labels."""
        for prompt in self.manifest.prompts:
            for instance in prompt.instances:
                if instance.area:
                    yield prompt, instance

    def open(self) -> Image.Image:
        """
        Read the picture as the model saw it: sRGB, upright, of the manifest's size.

        Raises NoPicture or WrongPicture.
        """
        if self.picture is None:
            raise NoPicture(self.name)
        shown = self.picture if isinstance(self.picture, Path) else self.name
        try:
            data = self.picture if isinstance(self.picture, bytes) else self.picture.read_bytes()
            picture = upright.upright(upright.opened(data), data)
        except FileNotFoundError:
            msg = f"{shown}: no such file."
            raise WrongPicture(msg) from None
        except (*upright.DAMAGED, Image.DecompressionBombError) as error:
            msg = f"{shown} cannot be read as a picture: {error}"
            raise WrongPicture(msg) from error
        expected = (self.manifest.image.width, self.manifest.image.height)
        if picture.size != expected:
            msg = (
                f"{shown} is {_pixels(picture.size)}, but the manifest is about a picture of"
                f" {_pixels(expected)}. Give the picture that was segmented."
            )
            raise WrongPicture(msg)
        return picture


def with_unique_names(items: Iterable[Pictured]) -> tuple[Pictured, ...]:
    """Rename items that would overwrite another's files: `bus`, `bus-2`, …"""
    taken: set[str] = set()
    unique: list[Pictured] = []
    for item in items:
        name, number = item.name, 1
        while name.lower() in taken:  # some file systems ignore case
            number += 1
            name = f"{item.name}-{number}"
        taken.add(name.lower())
        file_name = f"{name}{Path(item.picture_name).suffix}"
        renamed = name != item.name
        unique.append(replace(item, name=name, file_name=file_name) if renamed else item)
    return tuple(unique)


def class_name(prompt: PromptResult) -> str:
    """The class of a prompt's instances: its text, or its id when it had only boxes."""
    return prompt.text or prompt.id


def instance_path(item: Pictured, prompt: PromptResult, instance: Instance) -> Path:
    """The PNG of one instance, by its label in the mask: `bus/007-yellow-school-bus.png`."""
    words = re.sub(r"[^\w]+", "-", class_name(prompt)).strip("-")[:60]
    return Path(item.name, f"{instance.label:03d}-{words or 'instance'}.png")


def write_file(path: Path, content: bytes) -> Path:
    """Write a file, and its folder if it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def write_json(path: Path, document: dict[str, Any]) -> Path:
    return write_file(path, json.dumps(document, ensure_ascii=False).encode())


def _pixels(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]} px"
