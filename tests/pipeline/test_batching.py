"""Shared batches: what fails together is tried in halves; only one that fails alone is blamed."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch

from pipeline.errors import ModelDied, ModelFailed, OutOfMemory
from pipeline.model.batching import BatchSize, run_batches
from pipeline.model.segmentation_model import ModelRequest, RequestContext
from s3_sam3.contracts.prompts import SegmentOptions


@dataclass(frozen=True)
class Part:
    """One number of a request."""

    request: ModelRequest
    number: int


def parts(*owners: int) -> list[Part]:
    """Parts 0, 1, …, each of the request with the given number."""
    requests = [ModelRequest(SegmentOptions(), RequestContext()) for _ in range(max(owners) + 1)]
    return [Part(requests[owner], number) for number, owner in enumerate(owners)]


class Work:
    """Does parts; raises as told."""

    def __init__(self, error: Exception, fails: Callable[[list[int]], bool]) -> None:
        """Raise *error* when *fails* says so of the numbers."""
        self.error = error
        self.fails = fails
        self.tried: list[list[int]] = []
        self.done: list[int] = []
        self.rooms = 0

    def __call__(self, some: list[Part]) -> None:
        """Take one batch."""
        numbers = [part.number for part in some]
        self.tried.append(numbers)
        if self.fails(numbers):
            raise self.error
        self.done += numbers

    def make_room(self) -> None:
        """Count the calls."""
        self.rooms += 1


def run(work: Work, items: list[Part], size: BatchSize | None = None) -> ModelDied | None:
    """Share the items."""
    return run_batches(items, work, size=size or BatchSize(8), make_room=work.make_room)


def ends(items: list[Part]) -> list[BaseException | None]:
    """How each part's request ended; those that go on count as well."""
    return [part.request.answer.exception() if part.request.closed else None for part in items]


def test_memory_that_runs_out_halves_the_batch() -> None:
    """Batches over three do not fit: all is done, in halves, and the next batch is smaller."""
    work, size, items = (
        Work(torch.OutOfMemoryError(), lambda some: len(some) > 3),
        BatchSize(8),
        parts(*range(8)),
    )
    assert run(work, items, size) is None
    assert work.tried == [
        [0, 1, 2, 3, 4, 5, 6, 7],
        [0, 1, 2, 3],
        [0, 1],
        [2, 3],
        [4, 5, 6, 7],
        [4, 5],
        [6, 7],
    ]
    assert sorted(work.done) == list(range(8))
    assert (work.rooms, size.now) == (3, 2)


def test_who_does_not_fit_alone_is_out_of_memory() -> None:
    """
    One part never fits: its request is closed, the others are done.

    Negative control: a request that could have been blamed in its batch is still open.
    """
    work, items = Work(torch.OutOfMemoryError(), lambda some: 2 in some), parts(0, 0, 1, 2)
    run(work, items)
    assert [type(end) for end in ends(items)] == [type(None), type(None), OutOfMemory, type(None)]
    assert work.done == [0, 1, 3]


def test_an_error_of_one_does_not_fail_its_neighbours() -> None:
    """A batch of three that raises is taken apart until it is one request's own failure."""
    work, items = (
        Work(RuntimeError("shapes do not match"), lambda some: 3 in some),
        parts(0, 0, 1, 1, 2, 2),
    )
    run(work, items)
    assert [type(end) for end in ends(items)] == [type(None)] * 2 + [ModelFailed] * 2 + [
        type(None)
    ] * 2
    assert work.done == [0, 1, 2, 4, 5]


def test_an_order_alone_is_not_tried_again() -> None:
    """Trying the same thing again would only fail again."""
    work, items = Work(RuntimeError("no"), lambda _: True), parts(0, 0, 0, 0)
    run(work, items)
    assert work.tried == [[0, 1, 2, 3]]


def test_after_a_lost_gpu_nothing_is_tried() -> None:
    """Those in its batch are closed with it; the others are left to be told that it is gone."""
    work, items = Work(torch.AcceleratorError("lost", 700), lambda _: True), parts(0, 1, 2, 3)
    error = run(work, items, BatchSize(2))
    assert isinstance(error, ModelDied)
    assert work.tried == [[0, 1]]
    assert [type(end) for end in ends(items)] == [ModelDied] * 2 + [type(None)] * 2


def test_a_batch_grows_again() -> None:
    """
    After 32 batches without trouble it doubles, up to where it began.

    Negative control: after 31 it has not.
    """
    size = BatchSize(4)
    size.failed(4)
    size.failed(2)
    sizes = []
    for _ in range(96):
        size.worked()
        sizes.append(size.now)
    assert (sizes[30], sizes[31], sizes[62], sizes[63], sizes[95]) == (1, 2, 2, 4, 4)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError(), RuntimeError("no")])
def test_who_has_gone_is_left_out(error: Exception) -> None:
    """A request closed meanwhile takes no part in the halves."""
    items = parts(0, 1, 2, 3)
    work = Work(error, lambda some: len(some) > 2)
    items[1].request.close()
    items[0].request.close()
    run(work, items)
    assert work.done == [2, 3]
