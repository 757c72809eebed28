"""Batches that several requests share: what fails together is tried again in halves."""

from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeVar

import structlog
import torch

from pipeline.errors import ModelDied, OutOfMemory
from pipeline.model.device import translated
from pipeline.model.segmentation_model import ModelRequest


log = structlog.get_logger(__name__)

#: Batches without trouble after which a batch may grow again.
_PATIENCE: Final = 32


class BatchItem(Protocol):
    """A part of a batch, which belongs to one request."""

    @property
    def request(self) -> ModelRequest:
        """The request that an error of this item closes."""
        ...


Item = TypeVar("Item", bound=BatchItem)


class BatchSize:
    """How many fit at once: halved when memory runs out, doubled after a while without trouble."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._now = most
        self._worked = 0

    @property
    def now(self) -> int:
        """Items to take at once."""
        return self._now

    def failed(self, tried: int) -> None:
        """Note that *tried* items did not fit."""
        self._now = max(1, min(self._now, tried // 2))
        self._worked = 0

    def worked(self) -> None:
        """Note that a batch fitted."""
        self._worked += 1
        if self._worked >= _PATIENCE:
            self._now = min(self._now * 2, self._most)
            self._worked = 0


def run_batches(
    items: Sequence[Item],
    work: Callable[[list[Item]], None],
    *,
    size: BatchSize,
    make_room: Callable[[], None],
) -> ModelDied | None:
    """
    Do *work* for all items, *size* at once; an error only closes the request that causes it.

    A batch that runs out of memory is tried again in halves, after *make_room*; so is one that
    fails otherwise, until the failing part belongs to one request. After a lost GPU nothing is
    tried again: all requests of the batch are closed, and the error is returned.
    """
    waiting = [list(items[start : start + size.now]) for start in range(0, len(items), size.now)]
    waiting.reverse()
    while waiting:
        batch = [item for item in waiting.pop() if not item.request.closed]
        error = _attempt(work, batch) if batch else None
        if isinstance(error, OutOfMemory):
            size.failed(len(batch))
            make_room()
        elif error is None:
            size.worked()
        if error and _may_be_split(batch, error):
            half = len(batch) // 2
            waiting += [batch[half:], batch[:half]]
        elif error:
            _close(batch, error)
        if isinstance(error, ModelDied):
            return error
    return None


def _may_be_split(batch: list[Item], error: Exception) -> bool:
    """Whether a part of a failed batch may succeed alone."""
    if isinstance(error, OutOfMemory):
        return len(batch) > 1
    return not isinstance(error, ModelDied) and len({id(item.request) for item in batch}) > 1


def _close(batch: list[Item], error: Exception) -> None:
    if not isinstance(error, OutOfMemory):
        log.error("model_failed", exc_info=error)
    for item in batch:
        item.request.close(error)


def _attempt(work: Callable[[list[Item]], None], batch: list[Item]) -> Exception | None:
    """Do the work once, and return what went wrong."""
    try:
        with translated(), torch.inference_mode():
            work(batch)
    except OutOfMemory:
        pass  # not returned: its traceback would keep the tensors alive
    except Exception as error:  # noqa: BLE001 - raised again by the request it closes
        return error
    else:
        return None
    return OutOfMemory()
