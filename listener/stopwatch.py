"""Where an attempt's time went."""

import contextlib
import time
from collections.abc import Iterator


class Stopwatch:
    """Milliseconds by name: `queue_ms`, `fetch_ms`, `turn_ms`, `model_ms`, `store_ms`."""

    def __init__(self, queue_ms: float) -> None:
        self.timings = {"queue_ms": round(queue_ms, 1)}

    @contextlib.contextmanager
    def span(self, name: str) -> Iterator[None]:
        """Measure the block as *name*`_ms`, whether it ends well or not."""
        began_at = time.perf_counter()
        try:
            yield
        finally:
            self.timings[f"{name}_ms"] = round((time.perf_counter() - began_at) * 1000, 1)
