"""
Recordings of webhooks: a file with one JSON document in each line, raw bytes as base64.

    {"v":1,"n","id","type","at","method","path","url","endpoint","headers":[[name,value]],"body",
     "attempt":{"status","latency_ms","answer","error"}|null}     a request and its answer
    {"v":1,"n","attempt":{…}}                                     the answer to n, known later

A file only grows. The last attempt at an id counts, so `s3 replay` can read and extend one file.
Secrets of a request, recognised by the names of headers and query parameters, are redacted.
"""

import base64
import binascii
import dataclasses
import json
import os
import re
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import unquote_plus

from s3_sam3.errors import S3Error
from s3_sam3.messages import Attempt, Message, type_and_key


REDACTED: Final = "[redacted]"

_SECRET_NAME: Final = re.compile(
    r"secret|token|passw|pwd|api[-_]?key|access[-_]?key|auth|cookie|credential|session"
    r"|amz-signature|^key$|^jwt$|^sig$",
    re.IGNORECASE,
)
"""Not webhook-signature: it is valid for one body and five minutes, and --preserve needs it."""


def is_secret(name: str, more: Collection[str] = ()) -> bool:
    """Whether a header or query parameter of that name is secret, or is one of *more*."""
    listed = name.lower() in {each.lower() for each in more}
    return listed or _SECRET_NAME.search(name) is not None


def redacted_headers(
    given: Iterable[tuple[str, str]], more: Collection[str] = ()
) -> tuple[tuple[str, str], ...]:
    """The headers, with the values of secret ones replaced."""
    return tuple((name, REDACTED if is_secret(name, more) else value) for name, value in given)


def redacted_url(text: str, more: Collection[str] = ()) -> str:
    """A URL, or a path with its query, with the values of secret parameters replaced."""
    before, mark, query = text.partition("?")
    return before + mark + "&".join(_parameter(part, more) for part in query.split("&"))


def _parameter(part: str, more: Collection[str]) -> str:
    name, equals, _ = part.partition("=")
    return f"{name}={REDACTED}" if equals and is_secret(unquote_plus(name), more) else part


class RecordingError(S3Error):
    """The file is no recording, or cannot be read or written; the message names it."""


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

    def __exit__(self, *_: object) -> None:
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
                "path": path and redacted_url(path, self._redact),
                "url": message.url and redacted_url(message.url, self._redact),
                "endpoint": message.endpoint_id,
                "headers": redacted_headers(message.headers, self._redact),
                "body": base64.b64encode(message.body).decode(),
                "attempt": _attempt_document(message.last),
            }
        )

    def attempt(self, n: str, attempt: Attempt) -> None:
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


_LINE_START: Final = b'{"v": 1, "n": '
"""How we write a line; it identifies a first line that is incomplete."""


def open_recording(path: Path) -> int:
    """A file descriptor that appends whole lines to *path*. Raises: RecordingError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError as error:
        msg = f"{path} cannot be written to: {error.strerror}."
        raise RecordingError(msg) from error
    try:
        lines = path.read_bytes().split(b"\n")
        _check_is_recording(lines, path)
        _complete_last_line(file, lines[-1])
    except BaseException:
        os.close(file)
        raise
    return file


def _check_is_recording(lines: list[bytes], path: Path) -> None:
    first = next((line for line in lines if line.strip()), b"")
    if not first or first.startswith(_LINE_START):
        return
    try:
        document = json.loads(first)
    except ValueError:
        document = None
    if not isinstance(document, dict) or not {"v", "n", "attempt"} <= document.keys():
        msg = f"{path} is no recording, and nothing was written to it."
        raise RecordingError(msg)


def _complete_last_line(file: int, tail: bytes) -> None:
    """End the last line with a newline, or cut it if it is no whole document."""
    if not tail.strip():
        return
    try:
        json.loads(tail)
    except ValueError:
        os.ftruncate(file, os.lseek(file, 0, os.SEEK_END) - len(tail))
    else:
        # A whole document: some editors write no newline at the end.
        os.write(file, b"\n")
