"""Work that a cancellation may not cut in two."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar


Answer = TypeVar("Answer")


async def to_the_end(work: Coroutine[Any, Any, Answer]) -> Answer:
    """
    Run *work* to its end, however often the caller is cancelled meanwhile.

    The cancellation is raised afterwards. *work* must end by itself.
    """
    task = asyncio.get_running_loop().create_task(work)
    cancellation: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancellation = error
    if cancellation is not None:
        raise cancellation
    return task.result()
