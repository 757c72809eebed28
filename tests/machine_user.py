"""A signed-in machine user that asks `job-urls` for URLs and uses them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
from task_queue import Queue

from listener.task_objects import RESULT_FILES


Answer = tuple[int, dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine user that is signed in."""

    id: str
    token: str
    queue: Queue
    http: aiohttp.ClientSession

    async def claim(self) -> dict[str, Any]:
        """Claim the one task there is."""
        (row,) = await self.queue.rest.rpc(
            "claim_tasks",
            {
                "p_worker": "by hand",
                "p_limit": 1,
                "p_lease_seconds": 30,
                "p_deadline_seconds": 120,
                "p_capabilities": {"kinds": ["image"]},
            },
            self.token,
        )
        found: dict[str, Any] = row
        return found

    async def ask(self, attempt: int, *names: str, **write: Any) -> Answer:
        """Ask job-urls about an attempt, for writes of *names*, of one byte each."""
        fields = {"bytes": 1, **write}
        writes = [
            {"name": name, "content_type": RESULT_FILES.get(name, "text/plain"), **fields}
            for name in names
        ]
        async with self.http.post(
            "/functions/v1/job-urls",
            json={"token": attempt, "writes": writes},
            headers={"Authorization": f"Bearer {self.token}"},
        ) as answer:
            return answer.status, await answer.json()


MakeMachine = Callable[[], Awaitable[Machine]]
