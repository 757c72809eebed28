"""How much the server takes on at once. Operators do not turn these; tests make them small."""

from dataclasses import dataclass, field
from typing import Final

from pipeline.model.executor import cores


_GIB: Final = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Bounds on requests, bytes, threads and processes."""

    requests: int = 64
    """Requests inside at once; the next one gets 503."""
    upload_bytes: int = _GIB // 2
    """Uploaded pictures that wait to be decoded; a request beyond that gets 503."""
    picture_bytes: int = 2 * _GIB
    """Decoded pictures; a picture beyond that waits."""
    drawing_bytes: int = _GIB
    """What drawing takes beside the pictures, 13 bytes per pixel; a drawing beyond that waits."""
    side_threads: int = field(default_factory=cores)
    """Threads beside the model's own: resizing, contour tracing, drawing."""
    decoders: int = field(default_factory=cores)
    """Child processes that decode, one picture at a time each."""
