"""Is this upload a whole picture that we serve, and how large is it? A child process answers."""

from collections.abc import Iterator
from functools import partial
from typing import IO, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.problems import Problem
from s3_sam3.contracts import limits
from s3_sam3.contracts.errors import ErrorCode
from s3_sam3.imaging.sniff import Kind
from sandbox.child import SealedMemory
from sandbox.pool import Bounds, ChildLost, ChildPool


_AT_ONCE: Final = 2
"""Children at one time; each may hold a decoded picture."""

_BOUNDS: Final = Bounds(
    memory_bytes=2 * 1024**3,  # a WebP at the pixel limit takes three canvases of 200 MB
    cpu_seconds=20,
    seconds=30,
)

_CHUNK_BYTES: Final = 1024 * 1024


class CheckedPicture(BaseModel):
    """What a sound picture is."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Kind
    width: int = Field(ge=1)
    """Pixels, EXIF orientation applied."""
    height: int = Field(ge=1)
    """Pixels, EXIF orientation applied."""

    @property
    def content_type(self) -> str:
        """Its media type, from its bytes and not from what the sender said."""
        return limits.IMAGE_TYPES[self.format]


class _Refusal(BaseModel):
    """Why a file is no picture that we serve."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    error: Literal["image_too_large", "invalid_image", "unsupported_media_type"]
    width: int | None = None
    height: int | None = None


class UploadChecks(ChildPool):
    """
    Runs the children, a few at a time and one for each file.

    A file that took its child over meets no other user's file there.
    """

    def __init__(
        self,
        *,
        max_pixels: int = limits.MAX_IMAGE_PIXELS,
        max_bytes: int = limits.MAX_UPLOAD_BYTES,
    ) -> None:
        self._max_pixels = max_pixels
        super().__init__(
            "api.upload_check_child",
            children=_AT_ONCE,
            bounds=_BOUNDS,
            shared_bytes=max_bytes,
            reused=False,
        )

    async def check(self, file: IO[bytes]) -> CheckedPicture:
        """
        Check *file*, from its beginning.

        Raises: Problem with IMAGE_TOO_LARGE, INVALID_IMAGE or UNSUPPORTED_MEDIA_TYPE; NoChild.
        """
        file.seek(0)
        try:
            found = await self.run(_chunks(file), _read, request={"max_pixels": self._max_pixels})
        except ChildLost:  # no sound picture needs more than the bounds
            raise Problem(ErrorCode.INVALID_IMAGE) from None
        if isinstance(found, CheckedPicture):
            return found
        details = found.model_dump(exclude={"error"}, exclude_none=True)
        if details:
            details["max_pixels"] = self._max_pixels
        raise Problem(ErrorCode(found.error), details or None)


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    return iter(partial(file.read, _CHUNK_BYTES), b"")


def _read(message: bytes, _memory: SealedMemory) -> CheckedPicture | _Refusal:
    """Raises: ValueError."""
    if b'"error"' in message:
        return _Refusal.model_validate_json(message)
    return CheckedPicture.model_validate_json(message)
