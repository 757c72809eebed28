"""
Who may wake this listener by webhook, and what a webhook may say.

Two kinds come in: signed ones (Standard Webhooks, as our database and the Edge Function send
them), and Supabase's native Database Webhooks, which cannot sign and carry a shared secret.
Both have the native body.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from s3_sam3 import signatures
from s3_sam3.contracts.tasks import TaskStatus


SHARED_SECRET_HEADER: Final = "x-webhook-secret"  # noqa: S105 - the name of a header, no secret

_TASK_TABLE: Final = ("public", "segmentation_results")
_MAX_ID_CHARACTERS: Final = 150


class NotProven(Exception):
    """Neither a signature nor the shared secret says who sent the webhook."""


class Change(BaseModel):
    """A Database Webhook's body; what else it has is ignored, now and later."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: Literal["INSERT", "UPDATE", "DELETE"]
    schema_: str = Field(alias="schema")
    table: str
    record: dict[str, Any] | None = None

    @property
    def is_news(self) -> bool:
        """Whether there may be a task to claim; a record without status counts as pending."""
        if (self.schema_, self.table) != _TASK_TABLE or self.record is None:
            return False
        return bool(self.record.get("status", TaskStatus.PENDING) == TaskStatus.PENDING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """What proves a sender; at least one of the two is there."""

    signing: tuple[str, ...] = field(default=(), repr=False)
    """Standard Webhooks secrets, `whsec_…`; several while they change."""
    shared: str | None = field(default=None, repr=False)

    def prove(self, headers: Mapping[str, str], body: bytes, now: float) -> str | None:
        """
        What to remember the webhook by, or None for a native one, which has no id.

        A webhook that claims a signature is judged by that alone. Raises: NotProven.
        """
        if signatures.SIGNATURE_HEADER in headers:
            return self._proven_by_signature(headers, body, now)
        offered = headers.get(SHARED_SECRET_HEADER, "").encode(errors="surrogateescape")
        if not self.shared or not hmac.compare_digest(self.shared.encode(), offered):
            raise NotProven("no signature and no shared secret")
        return None

    def _proven_by_signature(self, headers: Mapping[str, str], body: bytes, now: float) -> str:
        fault: signatures.SignatureError = signatures.WrongSignature()
        for secret in self.signing:
            try:
                webhook_id = signatures.verify((secret,), headers, body, now)
            except signatures.SignatureError as error:
                fault = error
                continue
            if len(webhook_id) > _MAX_ID_CHARACTERS or not webhook_id.isascii():
                raise NotProven("webhook-id is too long, or no plain text")
            # One kick goes to every listener under one id, each signed with its own secret: it is
            # a duplicate only to those who share a secret, as a listener's restarts and the
            # replicas behind one address do.
            return f"{hashlib.sha256(secret.encode()).hexdigest()[:16]}:{webhook_id}"
        raise NotProven(type(fault).__name__)
