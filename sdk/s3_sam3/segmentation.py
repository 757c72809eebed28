"""A done task, downloaded."""

from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from pydantic import ValidationError

from s3_sam3 import exports
from s3_sam3.contracts import bodies, object_keys
from s3_sam3.contracts.manifest import Manifest
from s3_sam3.errors import UnreadableManifest


def read_manifest(task_id: UUID, data: bytes) -> Manifest:
    """Read a task's downloaded manifest; raises UnreadableManifest."""
    try:
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        fault = error.errors()[0]
        where = "".join(f"{part}: " for part in fault["loc"][:1])
        raise UnreadableManifest(task_id, f"{where}{fault['msg']}") from error


def save(folder: Path, manifest: Manifest, mask: bytes, overlay: bytes | None) -> dict[str, Path]:
    """Write a result's files into *folder* and return their paths by name."""
    files = {
        object_keys.MANIFEST: manifest.model_dump_json(indent=1).encode(),
        object_keys.MASK: mask,
        object_keys.OVERLAY: overlay,
    }
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / name for name, data in files.items() if data is not None}
    for name, path in paths.items():
        path.write_bytes(files[name] or b"")
    return paths


@dataclass(frozen=True, slots=True, kw_only=True)
class Segmentation:
    """The canonical manifest and the two pictures made from it."""

    result: bodies.ResultDetail
    manifest: Manifest
    mask_png: bytes
    """Label map: 0 is background, n the n-th instance; 16-bit when there are over 255."""
    overlay_webp: bytes
    """The picture, drawn on; smaller than the original when a side is over 16,383 pixels."""

    def save(self, folder: str | Path) -> dict[str, Path]:
        """Write the three files into *folder* and return their paths by name."""
        return save(Path(folder), self.manifest, self.mask_png, self.overlay_webp)

    def export(
        self,
        format_: exports.FormatName | str,
        folder: str | Path,
        *,
        picture: str | Path | bytes | None = None,
        name: str | None = None,
        options: exports.ExportOptions | None = None,
    ) -> list[Path]:
        """
        Write another format into *folder*, without the GPU; give the files' paths.

        `cutout` and `overlay` need the *picture* that was asked about, or raise NoPicture;
        another picture raises WrongPicture. The files are named after *name*, or the picture.
        `exports.export` puts several tasks into one COCO or YOLO data set.
        """
        path = Path(picture) if isinstance(picture, str) else picture
        stem = path.stem if isinstance(path, Path) else str(self.result.task_id)
        item = exports.Pictured(
            name=name or stem,
            manifest=self.manifest,
            picture=path,
            file_name=path.name if isinstance(path, Path) else None,
        )
        return exports.export([item], format_, folder, options)
