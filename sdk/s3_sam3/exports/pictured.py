"""A manifest, and the picture that it is about."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from s3_sam3.contracts.manifest import Instance, Manifest, PromptResult
from s3_sam3.errors import S3Error
from s3_sam3.imaging import upright


class NoPicture(S3Error):
    """The format draws on the picture, and it is not known which file that is."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name}: this format draws on the picture, and no file is known to be it."
            " Name it (--picture)."
        )


class WrongPicture(S3Error):
    """The file is not the picture that the manifest is about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictured:
    """One manifest to export, under a name of its own."""

    name: str
    """What its files are called; no folder, no ending."""
    manifest: Manifest
    picture: Path | bytes | None = None
    """The original, as it was uploaded."""
    file_name: str | None = None
    """What a data set calls the picture, when that is not *picture*'s own name."""

    @property
    def called(self) -> str:
        """The picture's file name, for a data set that lists it."""
        if self.file_name is not None:
            return self.file_name
        suffix = self.picture.suffix if isinstance(self.picture, Path) else ""
        return f"{self.name}{suffix or '.jpg'}"

    def found(self) -> Iterable[tuple[PromptResult, Instance]]:
        """Every instance that has a pixel, with the prompt that found it, as numbered."""
        for prompt in self.manifest.prompts:
            for instance in prompt.instances:
                if instance.area:
                    yield prompt, instance

    def open(self) -> Image.Image:
        """
        Read the picture as the model was shown it: sRGB, upright, as large as the manifest says.

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
                f" {_pixels(expected)}. Give the picture that was asked about."
            )
            raise WrongPicture(msg)
        return picture


def with_names_apart(items: Iterable[Pictured]) -> tuple[Pictured, ...]:
    """Rename what would write over another's files: `bus`, `bus-2`, …"""
    taken: set[str] = set()
    named: list[Pictured] = []
    for item in items:
        name, place = item.name, 1
        while name.lower() in taken:  # some file systems do not tell cases apart
            place += 1
            name = f"{item.name}-{place}"
        taken.add(name.lower())
        named.append(item if name == item.name else _renamed(item, name))
    return tuple(named)


def class_name(prompt: PromptResult) -> str:
    """What a prompt's instances are called: its text, or its id when it had boxes alone."""
    return prompt.text or prompt.id


def _renamed(item: Pictured, name: str) -> Pictured:
    return replace(item, name=name, file_name=f"{name}{Path(item.called).suffix}")


def _pixels(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]} px"
