"""The queue's clock, for the state machine and the tests: PostgreSQL's own cannot be moved."""

from typing import Final


EMPTY: Final = (
    "truncate auth.users, realtime.messages cascade",
    "truncate segmentation.idempotency_keys, segmentation.object_deletions",
    "delete from segmentation.queue_classes where id > 2",
    "select setval('segmentation.virtual_time_image', 0)",
    "select setval('segmentation.virtual_time_video', 0)",
)
"""Commands that leave a migrated database without users and tasks."""

_INSTANTS: Final = {
    "public.segmentation_results": (
        "run_after",
        "created_at",
        "started_at",
        "finished_at",
        "expires_at",
    ),
    "segmentation.attempts": ("claimed_at", "lease_expires_at", "deadline_at", "ended_at"),
    "segmentation.workers": ("last_seen_at",),
    "segmentation.machines": ("last_seen_at",),
    "segmentation.idempotency_keys": ("expires_at",),
    "segmentation.object_deletions": ("created_at", "due_at", "done_at"),
}

SKIP: Final = tuple(
    f"update {table} as moved set "
    + ", ".join(f"{column} = {column} - span" for column in columns)
    + " from (select make_interval(secs => %s) as span) as skip"
    for table, columns in _INSTANTS.items()
)
"""Commands that let some seconds pass; each takes the seconds."""
