"""
How far a run has come, in a file that only grows, so a crash cannot spoil it.

    {"v":1,"run","options":{…},"ids":[…]}             written whole before the first send
    {"send":"msg_1#0","sent":"msg_1","status":200}    after each answer; dropped: a fault took it

A send is done when its line says 2xx or dropped. One that was in flight at the end has no line: it
is sent again, with the same id.
"""

import fcntl
import json
import os
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

from s3_sam3.messages import Attempt
from webhooks.replay import UsageError


VERSION: Final = 1


class Checkpoint:
    """
    The file of one run; one process at a time has it open.

    Raises: UsageError, when *path* is no checkpoint, or another process has it open.
    """

    def __init__(self, path: Path) -> None:
        try:
            lines = path.read_text().splitlines()
            first: dict[str, Any] = json.loads(lines[0])
            self.run = str(first["run"])
            self.options = dict(first["options"])
            self.ids = tuple(str(each) for each in first["ids"])
            self._file = os.open(path, os.O_RDWR | os.O_APPEND)
        except (OSError, ValueError, LookupError, TypeError) as error:
            msg = f"{path} is no checkpoint of a replay ({type(error).__name__})."
            raise UsageError(msg) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            msg = f"Another process works on the run {self.run}."
            raise UsageError(msg) from error
        self.done = _done(lines[1:])

    @classmethod
    def create(cls, folder: Path, run: str, options: dict[str, Any], ids: Sequence[str]) -> Self:
        """Write down what is planned, before anything is sent."""
        folder.mkdir(parents=True, exist_ok=True)
        path = path_of(folder, run)
        first = {"v": VERSION, "run": run, "options": options, "ids": list(ids)}
        new = path.with_suffix(".new")
        new.touch(mode=0o600)
        new.write_text(json.dumps(first) + "\n")
        new.replace(path)
        return cls(path)

    def note(self, send: str, sent_id: str, attempt: Attempt | None) -> None:
        """Write how a send went; None: a fault took it."""
        status = "dropped" if attempt is None else attempt.status
        line = json.dumps({"send": send, "sent": sent_id, "status": status})
        # A newline in front too: an incomplete line of a killed process cannot spoil this one.
        os.write(self._file, f"\n{line}\n".encode())
        if attempt is None or attempt.ok:
            self.done.add(send)

    def close(self) -> None:
        os.close(self._file)


def path_of(folder: Path, run: str) -> Path:
    return folder / f"{run}.ndjson"


def new_run() -> str:
    """An id for a run, such as run-20261124-093000-1f8a."""
    return f"run-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def _done(lines: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for line in lines:
        try:
            document = json.loads(line)
        except ValueError:
            continue  # empty, or incomplete because its process was killed
        status = document["status"]
        if status == "dropped" or Attempt(status=status, latency_ms=0).ok:
            found.add(document["send"])
    return found
