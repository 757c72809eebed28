"""Batches that several requests share: what fails together is tried again in halves."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Protocol, TypeVar

import structlog
import torch

from pipeline.errors import ModelDied, ModelFailed, OutOfMemory
from pipeline.model import full_memory
from pipeline.model.model_request import ModelRequest


log = structlog.get_logger(__name__)

#: Batches without trouble after which a batch may grow again.
_PATIENCE: Final = 32


class Shared(Protocol):
    """A part of a batch, which belongs to one request."""

    @property
    def request(self) -> ModelRequest:
        """Who is answered, or blamed."""
        ...


Item = TypeVar("Item", bound=Shared)


class BatchSize:
    """How many fit at once: halved when memory runs out, doubled again after a while without."""

    def __init__(self, most: int) -> None:
        """Begin with the largest."""
        self._most = most
        self._now = most
        self._worked = 0

    @property
    def now(self) -> int:
        """Take so many at once."""
        return self._now

    def failed(self, tried: int) -> None:
        """Take note that *tried* did not fit."""
        self._now = max(1, min(self._now, tried // 2))
        self._worked = 0

    def worked(self) -> None:
        """Take note that a batch fitted."""
        self._worked += 1
        if self._worked >= _PATIENCE:
            self._now = min(self._now * 2, self._most)
            self._worked = 0


def share(
    items: Sequence[Item],
    work: Callable[[list[Item]], None],
    *,
    size: BatchSize,
    make_room: Callable[[], None],
) -> ModelDied | None:
    """
    Do *work* for all items, *size* at once; a request is closed by an error that is its own alone.

    What runs out of memory together is tried in halves, after *make_room*. What fails otherwise
    is too, until a failing part belongs to one request. After a lost GPU nothing is tried: those
    whose batch it was are closed, and the error is given back.
    """
    waiting = [list(items[start : start + size.now]) for start in range(0, len(items), size.now)]
    waiting.reverse()
    while waiting:
        some = [item for item in waiting.pop() if not item.request.closed]
        error = _attempt(work, some) if some else None
        if isinstance(error, OutOfMemory):
            size.failed(len(some))
            make_room()
        elif error is None:
            size.worked()
        if error and _may_be_split(some, error):
            half = len(some) // 2
            waiting += [some[half:], some[:half]]
        elif error:
            _close(some, error)
        if isinstance(error, ModelDied):
            return error
    return None


def _may_be_split(some: list[Item], error: Exception) -> bool:
    """Whether a part of a failed batch may do better alone."""
    if isinstance(error, OutOfMemory):
        return len(some) > 1
    return not isinstance(error, ModelDied) and len({id(item.request) for item in some}) > 1


def _close(some: list[Item], error: Exception) -> None:
    """Blame all that were in the batch."""
    if not isinstance(error, OutOfMemory):
        log.error("model_failed", exc_info=error)
    for item in some:
        item.request.close(error)


def _attempt(work: Callable[[list[Item]], None], some: list[Item]) -> Exception | None:
    """Do the work once, and give what went wrong."""
    try:
        with translated(), torch.inference_mode():
            work(some)
    except OutOfMemory:
        pass  # not given back: its traceback would keep the tensors alive
    except Exception as error:  # noqa: BLE001 - whoever it belongs to raises it
        return error
    else:
        return None
    return OutOfMemory()


@contextmanager
def translated() -> Iterator[None]:
    """Say torch's errors in our words; the one seam where they are known."""
    try:
        yield
    except full_memory.ERRORS as error:
        if full_memory.ran_out(error):
            raise OutOfMemory from error
        if isinstance(error, torch.AcceleratorError):
            raise ModelDied from error
        # Libraries under torch (cuBLAS, cuDNN) report a lost device as plain runtime errors.
        if "CUDA error" in str(error):
            raise ModelDied from error
        raise ModelFailed from error
