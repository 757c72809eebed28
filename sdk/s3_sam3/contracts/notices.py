"""
Realtime topics and events.

A notice is a hint to look again: it carries ids, never work. It may be lost, doubled or reordered.
"""

from typing import Final
from uuid import UUID


WORKERS_TOPIC: Final = "workers:image"
"""Private topic that wakes listeners; only enabled machines may join."""

TASK_PENDING: Final = "task_pending"
"""Event on WORKERS_TOPIC; payload `{"id"}`."""

TASK_CHANGED: Final = "task_changed"
"""Event on the user's topic; payload `{"id", "status", "progress"}`."""


def user_topic(user_id: UUID | str) -> str:
    """Private topic of one user, whom alone it admits."""
    return f"user:{user_id}"
