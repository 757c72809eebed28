"""What the API counts, in Prometheus' text format, and the requests that are open now."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest


_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """
    One application's counters; a registry of its own, so that two applications can live together.

    Labels are operation names from the route table and statuses, never ids or paths.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "s3_api_requests",
            "Answered requests.",
            ("operation", "status"),
            registry=self._registry,
        )
        self.seconds = Histogram(
            "s3_api_request_seconds",
            "Time from the request's head to its answer.",
            ("operation",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._open = Gauge(
            "s3_api_requests_open", "Requests being answered.", registry=self._registry
        )
        self.uploaded_bytes = Counter(
            "s3_api_uploaded_bytes", "Bytes of accepted pictures.", registry=self._registry
        )
        self.submitted = Counter(
            "s3_api_tasks_submitted", "Tasks put into the queue.", registry=self._registry
        )

    def text(self, open_requests: int) -> bytes:
        """Everything, as Prometheus reads it."""
        self._open.set(open_requests)
        return generate_latest(self._registry)


class OpenRequests:
    """
    A counter of the requests being answered, and a way to wait until there is none.

    aiohttp's own shutdown waits for handlers too, but from its first moment on it throws away what
    their connections still receive; an upload under way could then only run into the time limit.
    So the process waits here first.
    """

    def __init__(self) -> None:
        self._count = 0
        self._none = asyncio.Event()
        self._none.set()

    @contextmanager
    def one(self) -> Iterator[None]:
        """Count one request while the block runs."""
        self._count += 1
        self._none.clear()
        try:
            yield
        finally:
            self._count -= 1
            if self._count == 0:
                self._none.set()

    def __len__(self) -> int:
        return self._count

    async def ended(self, seconds: float) -> bool:
        """Wait until there is none, at most *seconds*; false when time ran out."""
        try:
            async with asyncio.timeout(seconds):
                return await self._none.wait()
        except TimeoutError:
            return False
