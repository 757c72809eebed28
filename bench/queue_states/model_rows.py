"""What the model of the queue keeps: tasks and attempts. Instants are seconds."""

from dataclasses import dataclass

from s3_sam3.contracts.errors import ErrorCode
from s3_sam3.contracts.tasks import TaskStatus


@dataclass(kw_only=True)
class Task:
    """One task, and what was spent on it."""

    id: str
    user: str
    cost: int
    virtual_start: int
    run_after: float
    expires_at: float | None
    memory_mb: int
    """Its class: what it asks of a machine, and what running out of memory taught."""
    status: TaskStatus = TaskStatus.PENDING
    code: ErrorCode | None = None
    attempt_count: int = 0
    unable: int = 0
    """Times that it was released because a pipeline could not do it."""
    waits: int = 0
    """The last backoff is 2 to the power of this, in seconds."""
    begun: bool = False
    """Claimed once; from then on its `expires_at` counts no more."""
    computed: int = 0
    charged: int | None = None
    winner: int | None = None
    """Token of the attempt whose results count."""

    def due(self, now: float, memory_mb: int) -> bool:
        """Whether a worker of that size may be given it now."""
        in_time = self.begun or self.expires_at is None or self.expires_at > now
        fits = self.memory_mb <= memory_mb
        return self.status is TaskStatus.PENDING and self.run_after <= now and in_time and fits


@dataclass(kw_only=True)
class Attempt:
    """One worker's try at one task."""

    token: int
    task: Task
    worker: str
    memory_mb: int
    lease: float
    deadline: float
    outcome: str | None = None
