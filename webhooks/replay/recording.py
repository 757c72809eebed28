r"""
Recordings: one JSON document in each line, raw bytes as base64.

    {"v":1,"n","id","type","at","method","path","url","endpoint","headers":[[name,value]],"body",
     "attempt":{"status","latency_ms","answer","error"}|null}     a request, and how it went
    {"v":1,"n","attempt":{…}}                                     how request n went, known later

A file only grows. The last attempt at an id counts, so a file can be source and record at once.
"""

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

from webhooks.replay import recording_file, redaction
from webhooks.replay.errors import BadRecording, UsageError
from webhooks.replay.messages import Attempt, Message, type_and_key


VERSION: Final = 1
_ID_HEADERS: Final = ("webhook-id", "svix-id", "x-github-delivery")


class Recording:
    """
    A file that is written to at its end; readable by its owner alone.

    *redact*: names of headers and query parameters to redact, beside those that look like it.
    Raises: UsageError, when the file cannot be written, or is something else.
    """

    def __init__(self, path: Path, redact: Collection[str] = ()) -> None:
        self._redact = redact
        self._file = recording_file.opened(path)

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
        """Write a request, with its attempt if it has one already."""
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
        """Write how request *n* went."""
        self._line({"v": VERSION, "n": n, "attempt": _attempt_document(attempt)})

    def _line(self, document: dict[str, Any]) -> None:
        # One write, so that two writers do not mix and a killed one tears its last line only.
        os.write(self._file, json.dumps(document).encode() + b"\n")


def read(path: Path) -> list[Message]:
    """The messages of a file, each with its last attempt. Raises: UsageError, BadRecording."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}."
        raise UsageError(msg) from error
    found: dict[str, Message] = {}
    ids: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            _take(json.loads(line), found, ids)
        except (ValueError, KeyError, TypeError, binascii.Error) as error:
            if number == len(lines):
                break  # a line without its end is what a killed writer left
            msg = f"{path}, line {number}, is no line of a recording ({type(error).__name__})."
            raise BadRecording(msg) from error
    return list(found.values())


def message_of(
    headers: tuple[tuple[str, str], ...], body: bytes, n: str, *, url: str | None
) -> Message:
    """A request as it came in; *n* is its id when it names none."""
    named = {name.lower(): value for name, value in headers}
    message_id = next((named[name] for name in _ID_HEADERS if named.get(name)), n)
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
        # Its request may be in a line that a killed writer tore.
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
