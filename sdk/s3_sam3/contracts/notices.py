"""
Realtime topics and events.

A notice is a hint: it carries ids, never work. Losing, doubling or reordering notices is harmless.
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
    """Private topic of one user; nobody else may join it."""
    return f"user:{user_id}"
