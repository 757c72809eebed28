"""The cores of a machine: the model's thread has them, what works beside it takes one."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from pipeline.model.device import one_core


def _take_two() -> None:
    """Give the calling thread two; a thread makes up its mind at its first work, so that first."""
    torch.get_num_threads()
    torch.set_num_threads(2)


@pytest.fixture
def model() -> Iterator[ThreadPoolExecutor]:
    """A thread that has set itself to two threads of torch, as the model's has."""
    with ThreadPoolExecutor(1) as thread:
        before = torch.get_num_threads()
        thread.submit(_take_two).result()
        yield thread
        thread.submit(torch.set_num_threads, before).result()


def test_work_beside_the_model_takes_one_core_and_leaves_the_model_its_own(
    model: ThreadPoolExecutor,
) -> None:
    """While another thread keeps to one core, the model's thread still has both."""
    inside, seen = threading.Event(), threading.Event()

    def beside() -> tuple[int, int]:
        """Count within and after."""
        with one_core():
            within = torch.get_num_threads()
            inside.set()
            assert seen.wait(10)
        return within, torch.get_num_threads()

    with ThreadPoolExecutor(1) as side:
        side.submit(_take_two).result()
        counted = side.submit(beside)
        assert inside.wait(10)
        at_the_model = model.submit(torch.get_num_threads).result()
        seen.set()
        assert (at_the_model, counted.result()) == (2, (1, 2))


def test_a_thread_is_given_back_as_it_was_when_the_work_fails() -> None:
    """An error inside does not leave a thread with one core."""
    before = torch.get_num_threads()
    _take_two()
    try:
        with pytest.raises(ZeroDivisionError), one_core():
            raise ZeroDivisionError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
