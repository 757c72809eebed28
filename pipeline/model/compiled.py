"""
A detector compiled with `torch.compile`, for a few batch sizes.

Each new shape costs a compilation of up to a minute, so batches are padded to a few sizes, which
are all compiled at start. Rows do not depend on their neighbours, so the padding is cut off again.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

import torch

from pipeline.errors import SetupFailed
from pipeline.model.detector import Detector, Raw
from s3_sam3.contracts.manifest import ModelInfo


#: Batch sizes that are compiled, of squares and of prompts; more are split, fewer are padded.
SQUARES: Final = (1, 4)
ROWS: Final = (1, 4, 16)

Maps = tuple[torch.Tensor, ...]


class CompiledDetector:
    """
    Wraps another detector.

    Prompts with boxes run uncompiled: their region pooling loops over any number of boxes.
    """

    def __init__(
        self,
        inner: Detector,
        *,
        heads: bool,
        squares: tuple[int, ...] = SQUARES,
        rows: tuple[int, ...] = ROWS,
        backend: str | Callable[..., Any] = "inductor",
    ) -> None:
        """
        Compile the vision encoder of *inner*, and its heads if *heads* says so.

        *squares* and *rows* are batch sizes in ascending order; *backend* is torch's (`eager` only
        traces).
        """
        self._inner = inner
        self._squares, self._rows = squares, rows
        self._compiled_heads = heads
        options: dict[str, Any] = {"backend": backend, "fullgraph": True, "dynamic": False}
        self._see: Callable[[torch.Tensor], Maps] = torch.compile(inner.see, **options)
        self._heads: Callable[..., Raw] = torch.compile(self._answer, **options)

    @property
    def info(self) -> ModelInfo:
        return self._inner.info

    @property
    def device(self) -> torch.device:
        return self._inner.device

    @property
    def side(self) -> int:
        return self._inner.side

    def read(self, texts: list[str]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        return self._inner.read(texts)

    def check(self, text: str) -> None:
        self._inner.check(text)

    def forget(self) -> None:
        """Drop the inner detector's memories; compiled code stays."""
        self._inner.forget()

    def see(self, squares: torch.Tensor) -> Maps:
        """See n squares in compiled batch sizes."""
        squares = squares.to(self.device)
        parts = []
        for start, count, size in pieces(len(squares), self._squares):
            seen = self._see(padded(squares[start : start + count], size))
            parts.append(tuple(one[:count] for one in seen))
        return tuple(
            torch.cat(level) if len(parts) > 1 else level[0] for level in zip(*parts, strict=True)
        )

    def detect(
        self,
        features: Maps,
        text: torch.Tensor,
        mask: torch.Tensor,
        boxes: torch.Tensor | None,
        labels: torch.Tensor | None,
    ) -> Raw:
        """Answer n rows in compiled batch sizes."""
        if boxes is not None or not self._compiled_heads:
            return self._inner.detect(features, text, mask, boxes, labels)
        shared = all(one.stride(0) == 0 for one in features)
        parts = []
        for start, count, size in pieces(len(text), self._rows):
            rows = slice(start, start + count)
            # One picture's features stay one row; the compiled code expands them.
            maps = tuple(one[0][None] if shared else padded(one[rows], size) for one in features)
            raw = self._heads(maps, padded(text[rows], size), padded(mask[rows], size))
            parts.append(Raw(*(one[:count] for one in raw)))
        return Raw(
            *(torch.cat(one) if len(parts) > 1 else one[0] for one in zip(*parts, strict=True))
        )

    def _answer(self, features: Maps, text: torch.Tensor, mask: torch.Tensor) -> Raw:
        """Answer rows without boxes; *features* have one row, or one for each row of *text*."""
        maps = tuple(one.expand(len(text), -1, -1, -1) for one in features)
        return self._inner.detect(maps, text, mask, None, None)

    def warm_up(self) -> None:
        """
        Compile all batch sizes. Blocking: seconds to minutes.

        Raises:
            SetupFailed: this machine cannot compile.

        """
        try:
            with torch.inference_mode():
                self._compile_all()
        except Exception as error:  # compilers raise errors of many types
            inner = getattr(error, "inner_exception", error)  # torch wraps a backend's own
            reason = (str(inner).strip().splitlines() or [type(inner).__name__])[0]
            message = (
                f"The model could not be compiled: {reason}. It needs a C++ compiler on a CPU and"
                " Triton on a GPU; SAM3_COMPILE=off works without."
            )
            raise SetupFailed(message) from error

    def _compile_all(self) -> None:
        """Run each batch size of squares; each of rows on one picture and on many."""
        [(text, mask)] = self.read(["object"])
        black = torch.zeros(self._squares[-1], 3, self.side, self.side, dtype=torch.uint8)
        seen = [self.see(black[:size]) for size in self._squares]
        for size in self._rows if self._compiled_heads else ():
            texts, masks = text.expand(size, -1, -1), mask.expand(size, -1)
            shared = tuple(level.expand(size, -1, -1, -1) for level in seen[0])
            self.detect(shared, texts, masks, None, None)
            self.detect(tuple(level.contiguous() for level in shared), texts, masks, None, None)


def pieces(count: int, sizes: tuple[int, ...]) -> Iterator[tuple[int, int, int]]:
    """Split *count* rows into (start, rows, padded size); *sizes* are ascending."""
    for start in range(0, count, sizes[-1]):
        rows = min(count - start, sizes[-1])
        yield start, rows, next(size for size in sizes if size >= rows)


def padded(rows: torch.Tensor, size: int) -> torch.Tensor:
    """Give *size* contiguous rows by repeating the last one, which makes no new values."""
    places = torch.arange(size, device=rows.device).clamp(max=len(rows) - 1)
    return rows.index_select(0, places)
