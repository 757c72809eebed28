"""
A detector whose passes `torch.compile` has fused, for a few shapes and no others.

Each new shape costs a compilation of up to a minute, so requests are padded to a few sizes, all of
them compiled at boot. Rows never depend on their neighbours; the padding is thrown away.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

import torch

from pipeline.errors import SetupFailed
from pipeline.model.choices import Choices
from pipeline.model.detector import Detector, Raw
from s3_sam3.contracts.manifest import ModelInfo


#: Numbers of squares, and of prompts, that are compiled; more are split, fewer are padded.
SQUARES: Final = (1, 4)
ROWS: Final = (1, 4, 16)

Maps = tuple[torch.Tensor, ...]


class CompiledDetector:
    """
    Another detector, faster after a slow start.

    Prompts with boxes run as they did: their pooling has a loop over boxes, of any number.
    """

    def __init__(
        self,
        inner: Detector,
        choices: Choices,
        *,
        squares: tuple[int, ...] = SQUARES,
        rows: tuple[int, ...] = ROWS,
        backend: str | Callable[..., Any] = "inductor",
    ) -> None:
        """
        Compile *inner* as *choices* say, for these numbers of *squares* and *rows* (ascending).

        *backend* is torch's; `eager` only traces.
        """
        self._inner = inner
        self._squares, self._rows = squares, rows
        self._compiled_heads = choices.compile == "full"
        options: dict[str, Any] = {"backend": backend, "fullgraph": True, "dynamic": False}
        self._see: Callable[[torch.Tensor], Maps] = torch.compile(inner.see, **options)
        self._heads: Callable[..., Raw] = torch.compile(self._answer, **options)

    @property
    def info(self) -> ModelInfo:
        """The inner one's."""
        return self._inner.info

    @property
    def device(self) -> torch.device:
        """The inner one's."""
        return self._inner.device

    @property
    def side(self) -> int:
        """The inner one's."""
        return self._inner.side

    def read(self, texts: list[str]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """As it was: a text is read once."""
        return self._inner.read(texts)

    def check(self, text: str) -> None:
        """Count the tokens; see `Detector.check`."""
        self._inner.check(text)

    def forget(self) -> None:
        """Drop the inner one's memories; compiled code stays."""
        self._inner.forget()

    def see(self, squares: torch.Tensor) -> Maps:
        """Look at n squares, a compiled number at a time."""
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
        """Answer n rows, a compiled number at a time."""
        if boxes is not None or not self._compiled_heads:
            return self._inner.detect(features, text, mask, boxes, labels)
        shared = all(one.stride(0) == 0 for one in features)
        parts = []
        for start, count, size in pieces(len(text), self._rows):
            rows = slice(start, start + count)
            # One picture's features stay one row; what is compiled expands them.
            maps = tuple(one[0][None] if shared else padded(one[rows], size) for one in features)
            raw = self._heads(maps, padded(text[rows], size), padded(mask[rows], size))
            parts.append(Raw(*(one[:count] for one in raw)))
        return Raw(
            *(torch.cat(one) if len(parts) > 1 else one[0] for one in zip(*parts, strict=True))
        )

    def _answer(self, features: Maps, text: torch.Tensor, mask: torch.Tensor) -> Raw:
        """What is compiled of `detect`: features of one picture, or of one for each row."""
        maps = tuple(one.expand(len(text), -1, -1, -1) for one in features)
        return self._inner.detect(maps, text, mask, None, None)

    def warm_up(self) -> None:
        """
        Compile every shape there will be. Blocking: seconds to minutes.

        Raises:
            SetupFailed: this machine cannot compile.

        """
        try:
            with torch.inference_mode():
                self._compile_all()
        except Exception as error:  # compilers fail in their own words
            inner = getattr(error, "inner_exception", error)  # torch wraps a backend's own
            reason = (str(inner).strip().splitlines() or [type(inner).__name__])[0]
            message = (
                f"The model could not be compiled: {reason}. It needs a C++ compiler on a CPU and"
                " Triton on a GPU; SAM3_COMPILE=off works without."
            )
            raise SetupFailed(message) from error

    def _compile_all(self) -> None:
        """Each number of squares, each number of rows on one picture and on many."""
        [(text, mask)] = self.read(["object"])
        black = torch.zeros(self._squares[-1], 3, self.side, self.side, dtype=torch.uint8)
        seen = [self.see(black[:size]) for size in self._squares]
        for size in self._rows if self._compiled_heads else ():
            texts, masks = text.expand(size, -1, -1), mask.expand(size, -1)
            shared = tuple(level.expand(size, -1, -1, -1) for level in seen[0])
            self.detect(shared, texts, masks, None, None)
            self.detect(tuple(level.contiguous() for level in shared), texts, masks, None, None)


def pieces(count: int, sizes: tuple[int, ...]) -> Iterator[tuple[int, int, int]]:
    """Split *count* rows: start, rows, and the size in *sizes* (ascending) to pad them to."""
    for start in range(0, count, sizes[-1]):
        rows = min(count - start, sizes[-1])
        yield start, rows, next(size for size in sizes if size >= rows)


def padded(rows: torch.Tensor, size: int) -> torch.Tensor:
    """Give *size* contiguous rows; the last one is repeated, which never makes new numbers."""
    places = torch.arange(size, device=rows.device).clamp(max=len(rows) - 1)
    return rows.index_select(0, places)
