"""
Where a run stands, in a file that only grows, so that no kind of end can spoil it.

    {"v":1,"run","arguments":[…],"ids":[…]}           written whole before the first shot
    {"shot":"msg_1#0","sent":"msg_1","status":200}    after each answer; dropped: a fault took it

A shot counts as done when its line says 2xx or dropped. One that was in flight at the end has no
line: it is sent again, with the same id.
"""

import fcntl
import json
import os
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

from webhooks.replay.errors import UsageError
from webhooks.replay.messages import Attempt


VERSION: Final = 1
_SUFFIX: Final = ".ndjson"


class Checkpoint:
    """The file of one run, held by one process at a time."""

    def __init__(self, path: Path) -> None:
        """Open *path*; raises UsageError when it is none, or another process is at it."""
        try:
            lines = path.read_text().splitlines()
            header: dict[str, Any] = json.loads(lines[0])
            self.run = str(header["run"])
            self.arguments = [str(part) for part in header["arguments"]]
            self.ids = tuple(str(each) for each in header["ids"])
            self._file = os.open(path, os.O_RDWR | os.O_APPEND)
        except (OSError, ValueError, LookupError, TypeError) as error:
            msg = f"{path} is no checkpoint of a replay ({type(error).__name__})."
            raise UsageError(msg) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            msg = f"Another process is at the run {self.run}."
            raise UsageError(msg) from error
        self.done = _done(lines[1:])

    @classmethod
    def create(cls, folder: Path, run: str, arguments: Sequence[str], ids: Sequence[str]) -> Self:
        """Write down what is planned, before anything is sent."""
        folder.mkdir(parents=True, exist_ok=True)
        path = path_of(folder, run)
        header = {"v": VERSION, "run": run, "arguments": list(arguments), "ids": list(ids)}
        fresh = path.with_suffix(".new")
        fresh.touch(mode=0o600)
        fresh.write_text(json.dumps(header) + "\n")
        fresh.replace(path)
        return cls(path)

    def note(self, shot: str, sent_id: str, attempt: Attempt | None) -> None:
        """Say how a shot went; None: a fault took it."""
        status = "dropped" if attempt is None else attempt.status
        line = json.dumps({"shot": shot, "sent": sent_id, "status": status})
        # With the line's end in front too: what a killed process tore cannot spoil this one.
        os.write(self._file, f"\n{line}\n".encode())
        if attempt is None or attempt.good:
            self.done.add(shot)

    def close(self) -> None:
        """Let go of it; the file stays."""
        os.close(self._file)


def path_of(folder: Path, run: str) -> Path:
    """The file of a run, or *run* itself if it is a path. Raises: UsageError."""
    if os.sep in run or run.endswith(_SUFFIX):
        return Path(run)
    return folder / f"{run}{_SUFFIX}"


def new_run() -> str:
    """An id for a run, such as run-20261124-093000-1f8a."""
    return f"run-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def _done(lines: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for line in lines:
        try:
            document = json.loads(line)
        except ValueError:
            continue  # empty, or torn by the end of its process
        status = document["status"]
        if status == "dropped" or Attempt(status=status, latency_ms=0).good:
            found.add(document["shot"])
    return found
