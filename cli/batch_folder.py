"""
What a folder of `s3 segment *.jpg … --out DIR` remembers, so that nothing is asked or paid twice.

    DIR/.s3-run             a name made up once: part of every idempotency key
    DIR/bus/task.json       a Record: what was asked of which picture, and how it stands
    DIR/bus/manifest.json   and mask.png, overlay.webp, once it is done
"""

import hashlib
import os
import secrets
from enum import StrEnum
from pathlib import Path
from typing import Final, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError

from s3_sam3.contracts import object_keys


RECORD: Final = "task.json"
_RUN: Final = ".s3-run"


class Standing(StrEnum):
    """How a picture stands."""

    ASKED = "asked"
    DONE = "done"
    FAILED = "failed"


class Record(BaseModel):
    """One picture of a batch."""

    model_config = ConfigDict(frozen=True)

    picture: Path
    """Absolute."""
    sha256: str
    asks: str
    """Digest of prompts, options, needs and deadline."""
    attempt: int = 0
    """Raised when the task has ended badly, so that the next one is a new task."""
    standing: Standing = Standing.ASKED
    task_id: UUID | None = None
    instances: dict[str, int] = {}
    """Prompt -> instances found."""
    seconds: float | None = None
    credits: int | None = None
    """Charged."""
    demo: bool = False
    """A demo model answered."""
    error: str | None = None

    def with_(self, **changes: object) -> Self:
        """The same, changed."""
        return self.model_copy(update=changes)


class BatchFolder:
    """One `--out` of many pictures; made when it is not there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self.run = _run_of(path)

    def place(self, picture: Path, sha256: str) -> Path:
        """
        Choose a picture's own folder: named after it, and after its bytes too if that is taken.

        The one where it lay before is found again, also when the file was moved or changed.
        """
        plain = self.path / picture.stem
        record = read(plain)
        ours = record is None or record.picture == picture.resolve() or record.sha256 == sha256
        return plain if ours else self.path / f"{picture.stem}-{sha256[:8]}"

    def idempotency_key(self, record: Record) -> str:
        """
        Name the task, the same after a kill as before.

        A task that was submitted in the moment of the kill is so found again in place of paid
        twice; so is that of a second file with the same bytes.
        """
        parts = (self.run, record.sha256, record.asks, str(record.attempt))
        return f"s3-batch-{hashlib.sha256(' '.join(parts).encode()).hexdigest()}"


def is_batch(path: Path) -> bool:
    """Whether many pictures were segmented into this folder."""
    return (path / _RUN).is_file()


def read(place: Path) -> Record | None:
    """A picture's record; none: nothing was asked, or the file is damaged."""
    try:
        return Record.model_validate_json((place / RECORD).read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValidationError):
        return None


def write(place: Path, record: Record) -> None:
    """Keep a record; a reader sees the old one or the new one, whole."""
    place.mkdir(parents=True, exist_ok=True)
    fresh = place / f".{RECORD}.{os.getpid()}"
    fresh.write_text(record.model_dump_json(indent=1))
    fresh.replace(place / RECORD)


def is_complete(place: Path) -> bool:
    """Whether all files of a result are there."""
    names = (object_keys.MANIFEST, object_keys.MASK, object_keys.OVERLAY)
    return all((place / name).is_file() for name in names)


def _run_of(path: Path) -> str:
    """Read the run's name, or make one up; of two at the same moment one wins."""
    known = path / _RUN
    if not known.exists():
        fresh = path / f"{_RUN}.{secrets.token_hex(4)}"
        fresh.write_text(secrets.token_hex(16))
        try:
            os.link(fresh, known)
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    return known.read_text()
