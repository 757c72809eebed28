"""
Frames of the Phoenix channel protocol, in the two versions that the official clients speak.

Version 1.0.0 (Python) is a JSON object, 2.0.0 (JavaScript) a JSON array; version 2 also has binary
frames for broadcasts. Payloads travel as ready JSON text, so that one rendering serves every
subscriber.
"""

import dataclasses
import enum
import json
from typing import Any


class Version(enum.StrEnum):
    """The `vsn` that a client names in its URL."""

    V1 = "1.0.0"
    V2 = "2.0.0"


#: First bytes of binary frames, as in supabase/realtime's V2Serializer.
USER_BROADCAST_PUSH = 3
USER_BROADCAST = 4

#: The byte that says how a binary frame's payload is encoded; 0 is raw bytes.
JSON_ENCODED = 1

#: Kind, five lengths and the encoding.
PUSH_HEADER_BYTES = 7

#: A length in a binary header is one byte.
MAX_NAME_BYTES = 255


class FrameError(ValueError):
    pass


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A frame from a client. `payload` is JSON data."""

    topic: str
    event: str
    payload: dict[str, Any]
    ref: str | None = None
    join_ref: str | None = None
    #: A broadcast's payload when it is raw bytes; `payload` then lacks it.
    raw: bytes | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A frame to a client. `payload` is JSON text."""

    topic: str
    event: str
    payload: str
    ref: str | None = None
    join_ref: str | None = None

    def encode(self, version: Version) -> str:
        ref, join_ref = json.dumps(self.ref), json.dumps(self.join_ref)
        topic, event = json.dumps(self.topic), json.dumps(self.event)
        if version is Version.V2:
            return f"[{join_ref},{ref},{topic},{event},{self.payload}]"
        return (
            f'{{"topic":{topic},"event":{event},"payload":{self.payload},'
            f'"ref":{ref},"join_ref":{join_ref}}}'
        )


def reply(to: Received, *, ok: bool, response: dict[str, Any] | None = None) -> Sent:
    """The `phx_reply` to *to*; an error carries its `reason` in *response*."""
    payload = {"status": "ok" if ok else "error", "response": response or {}}
    return Sent(
        topic=to.topic,
        event="phx_reply",
        payload=json.dumps(payload),
        ref=to.ref,
        join_ref=to.join_ref,
    )


def decode_text(text: str) -> Received:
    """Read a JSON frame of either version. Raises: FrameError."""
    try:
        data = json.loads(text)
        if isinstance(data, list):
            join_ref, ref, topic, event, payload = data
        else:
            topic, event, payload = data["topic"], data["event"], data["payload"]
            ref, join_ref = data.get("ref"), data.get("join_ref")
    except (ValueError, KeyError, TypeError) as error:
        raise FrameError(f"not a Phoenix frame: {text[:200]!r}") from error
    if not isinstance(topic, str) or not isinstance(event, str) or not isinstance(payload, dict):
        raise FrameError(f"not a Phoenix frame: {text[:200]!r}")
    return Received(
        topic=topic, event=event, payload=payload, ref=_text(ref), join_ref=_text(join_ref)
    )


def decode_binary(frame: bytes) -> Received:
    """Read a client's binary broadcast (kind 3). Raises: FrameError."""
    if len(frame) < PUSH_HEADER_BYTES or frame[0] != USER_BROADCAST_PUSH:
        raise FrameError(f"not a broadcast frame: {frame[:40]!r}")
    *sizes, encoding = frame[1:PUSH_HEADER_BYTES]
    parts, at = [], PUSH_HEADER_BYTES
    for size in sizes:
        parts.append(frame[at : at + size])
        at += size
    try:
        join_ref, ref, topic, event, _ = (part.decode() for part in parts)
        payload = {"type": "broadcast", "event": event}
        if encoding == JSON_ENCODED:
            payload["payload"] = json.loads(frame[at:])
    except ValueError as error:
        raise FrameError(f"not a broadcast frame: {frame[:40]!r}") from error
    return Received(
        topic=topic,
        event="broadcast",
        payload=payload,
        ref=ref or None,
        join_ref=join_ref or None,
        raw=None if encoding == JSON_ENCODED else frame[at:],
    )


def encode_binary(*, topic: str, event: str, payload: bytes) -> bytes:
    """A binary broadcast (kind 4) of raw bytes; only version 2 has it. Raises: FrameError."""
    names = topic.encode(), event.encode()
    if any(len(name) > MAX_NAME_BYTES for name in names):
        raise FrameError("topic or event is too long for a binary frame")
    header = bytes([USER_BROADCAST, len(names[0]), len(names[1]), 0, 0])
    return header + names[0] + names[1] + payload


def _text(ref: object) -> str | None:
    return None if ref is None else str(ref)
