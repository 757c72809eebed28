"""Names a set of weights by its content, and remembers the name: 3.4 GB take seconds to read."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog


log = structlog.get_logger(__name__)

_DIGITS: Final = 12
_MEMORY: Final = "revisions.json"


def revision(files: Sequence[Path], *, cache_dir: Path) -> str:
    """
    Give the first 12 hex digits of the sha256 over *files*, in their order.

    Remembered in *cache_dir* by path, time of change and size; a cache that cannot be read or
    written costs time, nothing else.
    """
    key = json.dumps([_mark(path) for path in files])
    memory = cache_dir / _MEMORY
    known = _recall(memory)
    if key not in known:
        known[key] = _digest(files)
        _remember(memory, known)
    return known[key]


def _mark(path: Path) -> tuple[str, int, int]:
    """What changes when the file does."""
    status = path.stat()
    return str(path.resolve()), status.st_mtime_ns, status.st_size


def _digest(files: Sequence[Path]) -> str:
    """Read everything."""
    whole = hashlib.sha256()
    for path in files:
        with path.open("rb") as stream:
            part = hashlib.file_digest(stream, "sha256")
        if len(files) == 1:
            return part.hexdigest()[:_DIGITS]
        whole.update(part.digest())
    return whole.hexdigest()[:_DIGITS]


def _recall(memory: Path) -> dict[str, str]:
    """Read what is remembered."""
    try:
        known = json.loads(memory.read_text())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _remember(memory: Path, known: dict[str, str]) -> None:
    """Write it for the next start."""
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        memory.write_text(json.dumps(known, indent=1))
    except OSError as error:
        log.warning("revision_not_remembered", path=str(memory), reason=str(error))
