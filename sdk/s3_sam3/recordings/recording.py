"""Writes and reads a recording; the package's docstring has the format."""

import base64
import binascii
import dataclasses
import json
import os
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from s3_sam3.recordings import RecordingError, redaction
from s3_sam3.recordings.appending import open_recording
from s3_sam3.recordings.messages import Attempt, Message, type_and_key


VERSION: Final = 1
_ID_HEADERS: Final = ("webhook-id", "svix-id", "x-github-delivery")


class Recording:
    """
    A file that is appended to; readable by its owner alone. A context manager.

    *redact*: further names of headers and query parameters to redact.
    Raises: RecordingError, when the file cannot be written or is no recording.
    """

    def __init__(self, path: Path, redact: Collection[str] = ()) -> None:
        self._redact = redact
        self._file = open_recording(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._file)

    def request(
        self, n: str, message: Message, *, method: str = "POST", path: str | None = None
    ) -> None:
        """Write a request, with its attempt if there is one already."""
        self._line(
            {
                "v": VERSION,
                "n": n,
                "id": message.id,
                "type": message.type,
                "at": message.created_at.isoformat(),
                "method": method,
                "path": path and redaction.url(path, self._redact),
                "url": message.url and redaction.url(message.url, self._redact),
                "endpoint": message.endpoint_id,
                "headers": redaction.headers(message.headers, self._redact),
                "body": base64.b64encode(message.body).decode(),
                "attempt": _attempt_document(message.last),
            }
        )

    def attempt(self, n: str, attempt: Attempt) -> None:
        """Write the answer to request *n*."""
        self._line({"v": VERSION, "n": n, "attempt": _attempt_document(attempt)})

    def _line(self, document: dict[str, Any]) -> None:
        # One write: two writers do not mix their lines, and a kill tears only the last one.
        os.write(self._file, json.dumps(document).encode() + b"\n")


def read(path: Path) -> list[Message]:
    """The messages of a file, each with its last attempt. Raises: RecordingError."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}."
        raise RecordingError(msg) from error
    found: dict[str, Message] = {}
    ids: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            _take(json.loads(line), found, ids)
        except (ValueError, KeyError, TypeError, binascii.Error) as error:
            if number == len(lines):
                break  # A killed writer left a last line without its end.
            msg = f"{path}, line {number}, is no line of a recording ({type(error).__name__})."
            raise RecordingError(msg) from error
    return list(found.values())


def message_of(
    headers: tuple[tuple[str, str], ...], body: bytes, n: str, *, url: str | None
) -> Message:
    """A request as it came in; its id is *n* when no header names one."""
    values = {name.lower(): value for name, value in headers}
    message_id = next((values[name] for name in _ID_HEADERS if values.get(name)), n)
    kind, key = type_and_key(body, message_id)
    return Message(
        id=message_id,
        type=kind,
        key=key,
        body=body,
        created_at=datetime.now(UTC),
        url=url,
        headers=headers,
    )


def _take(line: dict[str, Any], found: dict[str, Message], ids: dict[str, str]) -> None:
    attempt = _attempt(line["attempt"])
    if "body" not in line:
        # The request's own line may be the one that a killed writer tore.
        message_id = ids.get(line["n"])
        if message_id is not None and attempt is not None:
            found[message_id] = dataclasses.replace(found[message_id], last=attempt)
        return
    body = base64.b64decode(line["body"], validate=True)
    message_id = str(line["id"])
    ids[line["n"]] = message_id
    if message_id in found:
        last = attempt or found[message_id].last
        found[message_id] = dataclasses.replace(found[message_id], last=last)
        return
    kind, key = type_and_key(body, message_id)
    found[message_id] = Message(
        id=message_id,
        type=kind,
        key=key,
        body=body,
        created_at=datetime.fromisoformat(line["at"]),
        url=line.get("url"),
        endpoint_id=line.get("endpoint"),
        headers=tuple((str(name), str(value)) for name, value in line["headers"]),
        last=attempt,
    )


def _attempt(document: dict[str, Any] | None) -> Attempt | None:
    if document is None:
        return None
    return Attempt(
        status=document["status"],
        latency_ms=document["latency_ms"],
        answer=base64.b64decode(document["answer"]),
        error=document["error"],
    )


def _attempt_document(attempt: Attempt | None) -> dict[str, Any] | None:
    if attempt is None:
        return None
    return {
        "status": attempt.status,
        "latency_ms": attempt.latency_ms,
        "answer": base64.b64encode(attempt.answer).decode(),
        "error": attempt.error,
    }
