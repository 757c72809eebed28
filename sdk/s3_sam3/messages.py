"""A webhook message: id, exact bytes, last attempt; and whether its receiver is this machine."""

import ipaddress
import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from http import HTTPStatus
from typing import Any


class DeliveryState(StrEnum):
    OK = "ok"
    FAILED = "failed"
    """An answer other than 2xx, or no answer."""
    MISSING = "missing"
    """There was no attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt to deliver a message, and what came back."""

    status: int | None
    """HTTP status; None: no answer."""
    latency_ms: int
    answer: bytes = b""
    """The first bytes of the answer's body."""
    error: str | None = None
    """Why there was no answer."""

    @property
    def ok(self) -> bool:
        """Whether the receiver accepted the message: any 2xx."""
        ok, end = HTTPStatus.OK, HTTPStatus.MULTIPLE_CHOICES
        return self.status is not None and ok <= self.status < end

    @property
    def summary(self) -> str:
        return self.error or "no answer" if self.status is None else str(self.status)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    id: str
    """What the receiver deduplicates by."""
    type: str
    """Such as task.done, or INSERT."""
    key: str
    """Messages with the same key keep their order: the task's id, else the message's."""
    body: bytes
    created_at: datetime
    url: str | None = None
    """Where it was sent; None: unknown."""
    endpoint_id: str | None = None
    """The user's endpoint, whose secrets sign it."""
    enabled: bool = True
    """Whether that endpoint is switched on."""
    headers: tuple[tuple[str, str], ...] = ()
    """As recorded; empty if nobody recorded them."""
    last: Attempt | None = None

    @property
    def state(self) -> DeliveryState:
        if self.last is None:
            return DeliveryState.MISSING
        return DeliveryState.OK if self.last.ok else DeliveryState.FAILED


def type_and_key(body: bytes, message_id: str) -> tuple[str, str]:
    """The event's type and the task's id that *body* names, in our form or in Supabase's own."""
    try:
        document: Any = json.loads(body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        return "unknown", message_id
    inner = document.get("data") or document.get("record")
    fields = inner if isinstance(inner, dict) else {}
    key = fields.get("task_id") or fields.get("id") or message_id
    return str(document.get("type") or "unknown"), str(key)


def is_this_machine(host: str) -> bool:
    """Whether *host* is localhost, a name under it, or a loopback address; nothing is looked up."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def is_named(host: str, allowed: Collection[str]) -> bool:
    """Whether *host* is one of *allowed*, in upper or lower case; `[::1]` is `::1`."""
    return host.lower() in {name.lower().strip("[]") for name in allowed}
