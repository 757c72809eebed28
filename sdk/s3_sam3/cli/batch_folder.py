"""
The folder of `s3 segment *.jpg … --out DIR`: what it records, so that nothing is paid twice.

    DIR/.s3-run             a random name: part of every idempotency key
    DIR/bus/task.json       a Record: what was requested for which picture, and its state
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


class State(StrEnum):
    STARTED = "started"
    DONE = "done"
    FAILED = "failed"


class Record(BaseModel):
    model_config = ConfigDict(frozen=True)

    picture: Path
    """Absolute."""
    sha256: str
    request: str
    """Digest of prompts, options, needs and deadline."""
    attempt: int = 0
    """Counted up when a task ended badly, so that the next one is a new task."""
    state: State = State.STARTED
    task_id: UUID | None = None
    instances: dict[str, int] = {}
    """Prompt -> instances found."""
    seconds: float | None = None
    credits: int | None = None
    """Charged."""
    demo: bool = False
    error: str | None = None

    def with_(self, **changes: object) -> Self:
        return self.model_copy(update=changes)


class BatchFolder:
    """One `--out` of many pictures; made if it is missing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self.run = _run_of(path)

    def folder_of(self, picture: Path, sha256: str) -> Path:
        """
        Choose a picture's own folder: named after it, and after its bytes too if that is taken.

        A picture finds its folder again after the file was moved or changed.
        """
        plain = self.path / picture.stem
        record = read(plain)
        ours = record is None or record.picture == picture.resolve() or record.sha256 == sha256
        return plain if ours else self.path / f"{picture.stem}-{sha256[:8]}"

    def idempotency_key(self, record: Record) -> str:
        """
        Name the task, the same before a kill and after it.

        So a task that was submitted in the moment of the kill is found again, not paid twice; so
        is the task of a second file with the same bytes.
        """
        parts = (self.run, record.sha256, record.request, str(record.attempt))
        return f"s3-batch-{hashlib.sha256(' '.join(parts).encode()).hexdigest()}"


def is_batch(path: Path) -> bool:
    """Whether many pictures were segmented into this folder."""
    return (path / _RUN).is_file()


def read(folder: Path) -> Record | None:
    """A picture's record; None: there is none, or it is damaged."""
    try:
        return Record.model_validate_json((folder / RECORD).read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValidationError):
        return None


def write(folder: Path, record: Record) -> None:
    """Replace a record whole: a reader sees the old one or the new one."""
    folder.mkdir(parents=True, exist_ok=True)
    fresh = folder / f".{RECORD}.{os.getpid()}"
    fresh.write_text(record.model_dump_json(indent=1))
    fresh.replace(folder / RECORD)


def is_complete(folder: Path) -> bool:
    """Whether all files of a result are there."""
    names = (object_keys.MANIFEST, object_keys.MASK, object_keys.OVERLAY)
    return all((folder / name).is_file() for name in names)


def _run_of(path: Path) -> str:
    """Read the run's name, or make one; of two commands at once one wins."""
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
