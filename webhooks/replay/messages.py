"""What can be sent again: a webhook with its id, its exact bytes, and how it went last time."""

import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final


_FIRST_GOOD: Final = 200
_FIRST_NOT_GOOD: Final = 300


class Standing(StrEnum):
    """How the last attempt at a message went."""

    OK = "ok"
    FAILED = "failed"
    """An answer other than 2xx, or none."""
    MISSING = "missing"
    """Nobody ever tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try at a message, and what came back."""

    status: int | None
    """HTTP status; None: no answer."""
    latency_ms: int
    answer: bytes = b""
    """The first bytes of the answer's body."""
    error: str | None = None
    """Why there was no answer."""

    @property
    def good(self) -> bool:
        """Whether the receiver took it."""
        return self.status is not None and _FIRST_GOOD <= self.status < _FIRST_NOT_GOOD

    @property
    def told(self) -> str:
        """The status, or why there is none."""
        return self.error or "no answer" if self.status is None else str(self.status)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One webhook."""

    id: str
    """What the receiver deduplicates by."""
    type: str
    """Such as task.done, or INSERT."""
    key: str
    """Messages of one key keep their order: the task's id, else the message's."""
    body: bytes
    created_at: datetime
    url: str | None = None
    """Where it went; None: nobody knows."""
    endpoint_id: str | None = None
    """The customer's endpoint whose secrets sign it."""
    enabled: bool = True
    """Whether that endpoint is switched on."""
    headers: tuple[tuple[str, str], ...] = ()
    """As they came over the wire, if it was recorded."""
    last: Attempt | None = None

    @property
    def standing(self) -> Standing:
        """How the last attempt went."""
        if self.last is None:
            return Standing.MISSING
        return Standing.OK if self.last.good else Standing.FAILED


def type_and_key(body: bytes, message_id: str) -> tuple[str, str]:
    """The type and the task's id that a body names: ours, or Supabase's native form."""
    try:
        document: Any = json.loads(body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        return "unknown", message_id
    inner = document.get("data") or document.get("record")
    named = inner if isinstance(inner, dict) else {}
    key = named.get("task_id") or named.get("id") or message_id
    return str(document.get("type") or "unknown"), str(key)
