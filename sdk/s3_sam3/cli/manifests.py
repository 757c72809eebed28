"""Where `s3 export` and `s3 rethreshold` find manifests: files, folders, the service."""

import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from uuid import UUID

import typer
from pydantic import ValidationError

from s3_sam3 import S3Client, S3Error, read_manifest
from s3_sam3.cli import batch_folder, config, show
from s3_sam3.contracts import object_keys
from s3_sam3.contracts.manifest import Manifest
from s3_sam3.exports import Pictured


class NoManifest(S3Error):
    """The file is no manifest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    files: tuple[Path, ...]
    tasks: tuple[UUID, ...]

    @property
    def count(self) -> int:
        return len(self.files) + len(self.tasks)


def parse_sources(arguments: Sequence[str], picture: Path | None) -> Sources:
    """
    Tell files, folders and task ids apart. Raises a usage error.

    A folder is one result, or the `--out` of many pictures. A *picture* needs exactly one source.
    """
    files: list[Path] = []
    tasks: list[UUID] = []
    for argument in arguments:
        path = Path(argument)
        if path.exists():
            files += _in_folder(path) if path.is_dir() else [path]
        else:
            tasks.append(_task_id(argument))
    sources = Sources(files=tuple(dict.fromkeys(files)), tasks=tuple(dict.fromkeys(tasks)))
    if picture is not None and sources.count > 1:
        msg = f"--picture is the picture of one manifest; there are {sources.count}."
        raise typer.BadParameter(msg)
    return sources


def from_file(path: Path, picture: Path | None) -> Pictured:
    """Read one manifest; its picture is *picture*, or the one that a batch recorded."""
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        fault = error.errors()[0]
        where = "".join(f"{part}: " for part in fault["loc"][:1])
        msg = f"{path} is no manifest of S3: {where}{fault['msg']}."
        raise NoManifest(msg) from None
    folder = path.resolve().parent.name
    if picture is not None:
        return Pictured(
            name=picture.stem, manifest=manifest, picture=picture, file_name=picture.name
        )
    record = batch_folder.read(path.parent)
    if record is None:
        return Pictured(name=folder, manifest=manifest)
    return Pictured(
        name=folder,
        manifest=manifest,
        picture=record.picture if _is_unchanged(record) else None,
        file_name=f"{folder}{record.picture.suffix}",
    )


async def from_service(
    tasks: Sequence[UUID], picture: Path | None, *, with_picture: bool
) -> AsyncIterator[Pictured]:
    """Download done tasks, with their pictures if they are wanted and *picture* is not given."""
    if not tasks:
        return
    async with config.client() as s3:
        for task_id in tasks:
            yield await _downloaded(s3, task_id, picture, with_picture=with_picture)


async def _downloaded(
    s3: S3Client, task_id: UUID, picture: Path | None, *, with_picture: bool
) -> Pictured:
    result = await s3.result(task_id)
    manifest = await s3.download(result.manifest_download_url)
    source: Path | bytes | None = picture
    if source is None and with_picture:
        source = await s3.download(result.source_download_url)
    name = str(task_id) if picture is None else picture.stem
    ending = PurePosixPath(result.image_url).suffix if picture is None else picture.suffix
    return Pictured(
        name=name,
        manifest=read_manifest(task_id, manifest),
        picture=source,
        file_name=f"{name}{ending}",
    )


def _in_folder(folder: Path) -> list[Path]:
    """
    Find a folder's own manifest, or those in its folders; in the `--out` of many pictures, both.

    Such a folder has a manifest of its own from a call in which the pattern matched one picture.
    """
    own = [path for path in [folder / object_keys.MANIFEST] if path.is_file()]
    inner = sorted(folder.glob(f"*/{object_keys.MANIFEST}"))
    if not own and not inner:
        msg = f"{folder}: there is no {object_keys.MANIFEST} in it, nor in the folders in it."
        raise typer.BadParameter(msg)
    if batch_folder.is_batch(folder):
        return own + inner
    if own and inner:
        show.err.print(
            f"{folder} is one result; {show.counted(len(inner), 'result')} in the folders in it"
            " not taken. Name them if you mean them.",
            highlight=False,
            soft_wrap=True,
        )
    return own or inner


def _task_id(argument: str) -> UUID:
    try:
        return UUID(argument)
    except ValueError:
        msg = f"{argument}: no such file or folder, and no task's id."
        raise typer.BadParameter(msg) from None


def _is_unchanged(record: batch_folder.Record) -> bool:
    """Whether the picture is still in its place, with the bytes that were segmented."""
    try:
        data = record.picture.read_bytes()
    except OSError:
        return False
    return hashlib.sha256(data).hexdigest() == record.sha256
