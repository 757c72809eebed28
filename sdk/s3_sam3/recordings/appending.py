"""
Opens a recording for appending without losing anything.

Only an incomplete last line, which a killed writer left, is cut, and only from a recording.
"""

import json
import os
from pathlib import Path
from typing import Final

from s3_sam3.recordings import RecordingError


_LINE_START: Final = b'{"v": 1, "n": '
"""How we write a line; it identifies a first line that is incomplete."""

_BLOCK_BYTES: Final = 64 * 1024


def open_recording(path: Path) -> int:
    """A file descriptor that appends whole lines to *path*. Raises: RecordingError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError as error:
        msg = f"{path} cannot be written to: {error.strerror}."
        raise RecordingError(msg) from error
    try:
        _check_is_recording(file, path)
        _complete_last_line(file)
    except BaseException:
        os.close(file)
        raise
    return file


def _check_is_recording(file: int, path: Path) -> None:
    first = _first_line(file)
    if not first or first.startswith(_LINE_START):
        return
    try:
        document = json.loads(first)
    except ValueError:
        document = None
    if not isinstance(document, dict) or not {"v", "n", "attempt"} <= document.keys():
        msg = f"{path} is no recording, and nothing was written to it."
        raise RecordingError(msg)


def _first_line(file: int) -> bytes:
    """The first line that is not empty."""
    found, offset = b"", 0
    while block := os.pread(file, _BLOCK_BYTES, offset):
        offset += len(block)
        found = (found + block).lstrip()
        if b"\n" in found or found.startswith(_LINE_START):
            break
    return found.partition(b"\n")[0]


def _complete_last_line(file: int) -> None:
    """End the last line with a newline, or cut it if it is no whole document."""
    tail = _after_last_newline(file)
    if not tail.strip():
        return
    try:
        json.loads(tail)
    except ValueError:
        os.ftruncate(file, os.lseek(file, 0, os.SEEK_END) - len(tail))
    else:
        # A whole document: some editors write no newline at the end.
        os.write(file, b"\n")


def _after_last_newline(file: int) -> bytes:
    found, offset = b"", os.lseek(file, 0, os.SEEK_END)
    while offset and b"\n" not in found:
        start = max(0, offset - _BLOCK_BYTES)
        found = os.pread(file, offset - start, start) + found
        offset = start
    return found.rpartition(b"\n")[2]
