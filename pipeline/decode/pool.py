"""Decodes pictures in child processes, so that a crash or a memory bomb fails its own picture."""

import signal
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from pipeline.decode.child import LAYOUT, PIXEL_BYTES, Decoded, check_type
from pipeline.errors import PipelineError, Refused
from s3_sam3.contracts import limits
from s3_sam3.contracts.errors import ErrorCode
from sandbox.child import SealedMemory
from sandbox.pool import Bounds, ChildLost, ChildPool, ChildSilent, NoChild


#: Address space of one child: a WebP at the pixel limit takes 0.8 GB, four canvases.
MEMORY_BYTES: Final = 1_073_741_824

#: CPU seconds for one picture.
_CPU_SECONDS: Final = 20

#: Seconds on the clock for one picture, and for a child to start.
SECONDS: Final = 30.0

#: Blocks of 16 MB that Pillow keeps for the next picture instead of asking for new pages.
_PILLOW: Final = {"PILLOW_BLOCKS_MAX": "4"}

_NO_MEMORY: Final = "Decoding the picture takes more memory than one may. Send a smaller one."
_TOO_LONG: Final = "Decoding the picture took too long. Export it again and upload it."
_CRASHED: Final = "The picture crashed the decoder. Export it again and upload it."
_KILLED: Final = (
    "The process that decoded the picture was killed, most likely for its memory. Export it again,"
    " or send a smaller one."
)

#: How a child ended → what that says of its picture.
_ENDINGS: Final = {-signal.SIGKILL: _KILLED, -signal.SIGXCPU: _TOO_LONG}


class _Answer(BaseModel):
    """What a child says beside the pixels. A hostile picture may have taken it over."""

    model_config = ConfigDict(extra="forbid", strict=True)

    width: int = Field(default=0, ge=1)
    height: int = Field(default=0, ge=1)
    frames: int = Field(default=1, ge=1)
    error: str | None = None
    message: str = ""
    memory: bool = False


class DecodePool(ChildPool):
    """
    Children that decode, each one picture at a time and many in its life.

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
        """Start nothing yet; *memory_bytes* of address space and *seconds* bound a picture."""
        self._max_pixels = max_pixels
        super().__init__(
            "pipeline.decode.child",
            children=children,
            bounds=Bounds(memory_bytes=memory_bytes, cpu_seconds=_CPU_SECONDS, seconds=seconds),
            shared_bytes=max(PIXEL_BYTES * max_pixels, limits.MAX_UPLOAD_BYTES),
            reused=True,
            environment=_PILLOW,
        )

    async def decode(
        self, data: bytes, during: Callable[[Future[Any]], None] = lambda _: None
    ) -> Decoded:
        """
        Do in a child what `picture.decode` does; tell *during* of the work.

        Cancelled, it withdraws what has not begun.

        Raises:
            Refused: the picture is at fault; so is one that crashed, hung or starved its child.
            PipelineError: no child starts.

        """
        check_type(data)  # needs no child
        try:
            found = await self.run(
                [data],
                lambda answer, memory: taken(answer, memory, self._max_pixels),
                request={"max_pixels": self._max_pixels},
                during=during,
            )
        except ChildLost as lost:
            ending = _CRASHED if lost.status is None else _ENDINGS.get(lost.status, _CRASHED)
            reason = _TOO_LONG if isinstance(lost, ChildSilent) else ending
            raise Refused(reason, code=ErrorCode.INVALID_IMAGE) from lost
        except NoChild as error:
            message = "No process that decodes pictures starts; its standard error says why."
            raise PipelineError(message) from error
        if isinstance(found, Refused):
            raise found
        return found


def taken(message: bytes, memory: SealedMemory, max_pixels: int) -> Decoded | Refused:
    """
    Take the picture that a child's answer speaks of out of the memory.

    Raises:
        ValueError: no honest child gives such an answer.

    """
    answer = _Answer.model_validate_json(message)
    if answer.memory:
        return Refused(_NO_MEMORY, code=ErrorCode.IMAGE_TOO_LARGE)
    if answer.error is not None:
        return Refused(answer.message, code=ErrorCode(answer.error))
    if not 0 < answer.width * answer.height <= max_pixels:
        msg = "more pixels than allowed, or none"
        raise ValueError(msg)
    return Decoded(_copied(memory, answer.width, answer.height), answer.frames)


def _copied(memory: SealedMemory, width: int, height: int) -> Image.Image:
    """Copy the pixels; whatever the child does meanwhile, they are as many."""
    rows = memory.mapped(PIXEL_BYTES * width * height)
    # Any buffer will do, though the stub wants bytes.
    picture = Image.frombuffer(LAYOUT, (width, height), rows, "raw", LAYOUT, 0, 1)  # type: ignore[arg-type]
    return picture.convert("RGB")
