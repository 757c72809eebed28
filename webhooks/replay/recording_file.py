"""
A recording's file, opened to be written on: nothing that somebody wrote is lost.

Only what a killed writer left without its end is cut, and only of what is a recording.
"""

import json
import os
from pathlib import Path
from typing import Final

from webhooks.replay.errors import UsageError


_BEGINS: Final = b'{"v": 1, "n": '
"""How we write a line; a first one that was torn is told by it."""

_PORTION: Final = 64 * 1024


def opened(path: Path) -> int:
    """A descriptor that appends whole lines to *path*. Raises: UsageError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError as error:
        msg = f"{path} cannot be written to: {error.strerror}."
        raise UsageError(msg) from error
    try:
        _check(file, path)
        _end_last_line(file)
    except BaseException:
        os.close(file)
        raise
    return file


def _check(file: int, path: Path) -> None:
    """Raise UsageError when the file holds something, and no recording."""
    first = _first_line(file)
    if not first or first.startswith(_BEGINS):
        return
    try:
        document = json.loads(first)
    except ValueError:
        document = None
    if not isinstance(document, dict) or not {"v", "n", "attempt"} <= document.keys():
        msg = f"{path} is no recording, and nothing was written to it."
        raise UsageError(msg)


def _first_line(file: int) -> bytes:
    """The first line that is not empty."""
    found, place = b"", 0
    while portion := os.pread(file, _PORTION, place):
        place += len(portion)
        found = (found + portion).lstrip()
        if b"\n" in found or found.startswith(_BEGINS):
            break
    return found.partition(b"\n")[0]


def _end_last_line(file: int) -> None:
    """Give the last line its end, or cut it, if a killed writer tore it."""
    tail = _tail(file)
    if not tail.strip():
        return
    try:
        json.loads(tail)
    except ValueError:
        os.ftruncate(file, os.lseek(file, 0, os.SEEK_END) - len(tail))
    else:
        # Whole: an editor that writes no end of the last line.
        os.write(file, b"\n")


def _tail(file: int) -> bytes:
    """What stands after the last line's end."""
    found, place = b"", os.lseek(file, 0, os.SEEK_END)
    while place and b"\n" not in found:
        start = max(0, place - _PORTION)
        found = os.pread(file, place - start, start) + found
        place = start
    return found.rpartition(b"\n")[2]
