"""A task's statuses, what worker functions answer, tiers and actions of the ledger."""

from enum import StrEnum
from typing import Final


class TaskStatus(StrEnum):
    """
    Where a task stands; the labels of the Postgres enum `public.task_status`.

    `pending -> processing -> done | failed | cancelled`; a retry goes back to `pending`.
    """

    PENDING = "pending"
    PROCESSING = "processing"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


FINAL_STATUSES: Final = frozenset({TaskStatus.DONE, TaskStatus.FAILED, TaskStatus.CANCELLED})
"""No transition leaves these."""


class Settlement(StrEnum):
    """What a worker function answers to a write that names a fencing token."""

    OK = "ok"
    """The write took effect now."""
    DUPLICATE = "duplicate"
    """The same token had made the same write already; nothing changed."""
    STALE = "stale"
    """The task was taken away from this token; nothing changed."""


class ReleaseReason(StrEnum):
    """Why a worker gives a task back; what `release_task` takes."""

    STOPPING = "stopping"
    """The worker leaves. The task is due at once, and nothing is counted."""
    UNABLE = "unable"
    """Its pipeline cannot do it now. The task is due after a pause; ten are not counted."""


class MediaKind(StrEnum):
    """The kind of a task's source."""

    IMAGE = "image"


class UserTier(StrEnum):
    """What a user has signed up for; the labels of `public.user_tier`."""

    FREE = "free"
    PRO = "pro"
    INTERNAL = "internal"


class UsageAction(StrEnum):
    """A row's kind in the credit ledger; the labels of `public.usage_action`."""

    GRANT = "grant"
    HOLD = "hold"
    CAPTURE = "capture"
    RELEASE = "release"
    REFUND = "refund"
    REMAINDER = "remainder"
