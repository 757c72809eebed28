"""
Decodes pictures in child processes, so that a crash or a memory bomb hurts nobody.

No pool of `concurrent.futures` or pebble: their children inherit every secret of the environment,
what a child sends is unpickled (a decoder in a stranger's hands would own this process), and one
that is killed while idle breaks the pool for good. Ours share plain memory and send JSON.
"""

import asyncio
import queue
import signal
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, Final, Self

import structlog

from pipeline.decode.picture import Decoded, sniff
from pipeline.decode.process import DecodeProcess, DecoderLost, DecoderSilent
from pipeline.errors import PipelineError, Refused
from s3_sam3.contracts import limits
from s3_sam3.contracts.errors import ErrorCode
from sandbox.confinement import hide


log = structlog.get_logger(__name__)

#: Address space of one child: a WebP at the pixel limit takes 0.8 GB, four canvases.
MEMORY_BYTES: Final = 1_073_741_824

#: Seconds on the clock for one picture, and for a child to start.
SECONDS: Final = 30.0

_TOO_LONG: Final = "Decoding the picture took too long. Export it again and upload it."
_CRASHED: Final = "The picture crashed the decoder. Export it again and upload it."
_KILLED: Final = (
    "The process that decoded the picture was killed, most likely for its memory. Export it again,"
    " or send a smaller one."
)

#: How a child ended → what that says of its picture.
_ENDINGS: Final = {-signal.SIGKILL: _KILLED, -signal.SIGXCPU: _TOO_LONG}


class DecodePool:
    """
    A few children, started before they are needed, each with one picture at a time.

    `async with DecodePool(2) as pool: picture, frames = await pool.decode(data)`
    """

    def __init__(
        self,
        children: int,
        *,
        max_pixels: int = limits.MAX_IMAGE_PIXELS,
        memory_bytes: int = MEMORY_BYTES,
        seconds: float = SECONDS,
    ) -> None:
        """Have no child yet; *memory_bytes* of address space and *seconds* bound a picture."""
        self._count = children
        self._new = partial(
            DecodeProcess, memory_bytes=memory_bytes, max_pixels=max_pixels, seconds=seconds
        )
        self._threads = ThreadPoolExecutor(children, thread_name_prefix="decode")
        self._idle: queue.SimpleQueue[DecodeProcess | None] = queue.SimpleQueue()
        self._children: set[DecodeProcess] = set()

    async def __aenter__(self) -> Self:
        """Start the children, without waiting until they are ready; hide from them."""
        hide()
        for _ in range(self._count):
            self._start()
        return self

    async def __aexit__(self, *_error: object) -> None:
        """End the children; nobody waits any more for what they are at."""
        for child in tuple(self._children):
            child.kill()
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)
        for child in self._children:
            child.kill()
            child.end()

    @property
    def pids(self) -> list[int]:
        """Process ids of the children."""
        return [child.pid for child in tuple(self._children)]

    async def decode(
        self, data: bytes, during: Callable[[Future[Any]], None] = lambda _: None
    ) -> Decoded:
        """
        Do what `decode.decode` does, in a child; tell *during* what it is that runs.

        Cancelled, it withdraws what has not begun.

        Raises:
            Refused: the picture is at fault; so is one that crashed, hung or starved its child.
            PipelineError: no child starts.

        """
        sniff(data)  # what is no picture needs no child
        running = self._threads.submit(self._decode, data)
        during(running)
        return await asyncio.wrap_future(running)

    def _decode(self, data: bytes) -> Decoded:
        """Hand the picture to an idle child, of which there is one for each thread."""
        child = self._ready()
        try:
            decoded = child.decode(data)
        except DecoderLost as lost:
            raise Refused(self._reason(child, lost), code=ErrorCode.INVALID_IMAGE) from lost
        except Refused:
            self._idle.put(child)
            raise
        except BaseException:  # ours, such as no memory for the copy; the place must not be lost
            self._replace(child)
            raise
        self._idle.put(child)
        return decoded

    def _ready(self) -> DecodeProcess:
        """Take a child that waits for a picture; one that ended while idle blames no picture."""
        for _ in range(1 + self._count):
            child = self._idle.get()
            if child is None:
                self._start()
                continue
            try:
                child.await_ready()
            except (DecoderLost, OSError):
                log.warning("decoder_gone", status=self._replace(child))
            else:
                return child
        message = "No process that decodes pictures starts; its standard error says why."
        raise PipelineError(message)

    def _reason(self, child: DecodeProcess, lost: DecoderLost) -> str:
        """Replace a child that did not survive its picture, and say why."""
        if isinstance(lost, DecoderSilent):
            child.kill()
            self._replace(child)
            return _TOO_LONG
        status = self._replace(child)
        log.warning("decoder_lost", status=status)
        return _ENDINGS.get(status, _CRASHED)

    def _replace(self, child: DecodeProcess) -> int:
        """Start another in the place of *child*; its exit status."""
        self._children.discard(child)
        self._start()
        return child.end()

    def _start(self) -> None:
        """Start a child and let it wait for pictures; when there is none, its place waits."""
        try:
            child = self._new()
        except OSError:
            log.exception("decoder_does_not_start")
            self._idle.put(None)
            return
        self._children.add(child)
        self._idle.put(child)
