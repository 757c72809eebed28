"""What attempts at one picture share when they were claimed together."""

import asyncio
from collections.abc import Iterable, Iterator

from listener.fetch import fetch
from listener.lease_store import Claim
from listener.task_objects import TaskObjects


class Ride:
    """
    One source, read once, and one place at the pipeline, where riders stand in line.

    In line, because a rider that comes second finds in the pipeline what the first one's picture
    showed, and because together they are one of the listener's slots.
    """

    def __init__(self, objects: TaskObjects) -> None:
        self.turn = asyncio.Lock()
        """Held while a rider's request is at the pipeline."""
        self._objects = objects
        self._reading: dict[tuple[object, str], asyncio.Task[bytes]] = {}

    async def picture(self, claim: Claim) -> bytes:
        """
        Read the claim's picture, or wait for the rider that reads it.

        A rider that is cancelled meanwhile spoils nothing.
        Raises: as `fetch`, to every rider alike.
        """
        # Not by the lead's token: whoever rides with whom, a user sees only pictures of their own.
        source = (claim.user_id, claim.source_image_url)
        if source not in self._reading:
            reading = asyncio.get_running_loop().create_task(fetch(claim, self._objects))
            # Its error belongs to those who wait; when all are gone, to nobody.
            reading.add_done_callback(lambda task: task.cancelled() or task.exception())
            self._reading[source] = reading
        return await asyncio.shield(self._reading[source])

    async def close(self) -> None:
        """End a read that nobody waits for any more."""
        for reading in self._reading.values():
            reading.cancel()
        await asyncio.gather(*self._reading.values(), return_exceptions=True)


def rides(claims: Iterable[Claim]) -> Iterator[list[Claim]]:
    """Put together what was claimed together, each ride in the order of its tasks."""
    together: dict[int, list[Claim]] = {}
    for claim in claims:
        together.setdefault(claim.lead_token, []).append(claim)
    yield from together.values()
