"""What a child that decodes may say, and the memory it shares: all of it is doubted."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pipeline.decode.child import PIXEL_BYTES
from pipeline.decode.process import DecoderLost, read_answer, shared_memory


SIZE = (64, 48)
LENGTH = 64 * 48 * PIXEL_BYTES


@contextmanager
def memory(size: int = LENGTH) -> Iterator[int]:
    """What a child and its parent share."""
    descriptor = shared_memory(size)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def answer(**fields: object) -> bytes:
    """What a child says."""
    return json.dumps({"width": 64, "height": 48, "frames": 1} | fields).encode()


def test_an_honest_answer_is_taken() -> None:
    """Negative control of what follows."""
    with memory() as descriptor:
        assert read_answer(answer(), descriptor, 5000).picture.size == SIZE


def test_nobody_can_pull_the_memory_away() -> None:
    """To read what a hostile child has cut off would end this process with SIGBUS."""
    with memory() as descriptor:
        for length in (0, LENGTH - 1, LENGTH + 1):
            with pytest.raises(PermissionError):
                os.truncate(descriptor, length)


def test_of_a_large_picture_little_is_kept() -> None:
    """The memory that 50 megapixels took is given back, all but 16 megapixels of it."""
    side = 7000
    with memory(side * side * PIXEL_BYTES) as descriptor:
        for place in range(0, side * side * PIXEL_BYTES, 4096):
            os.pwrite(descriptor, b"x", place)
        before = os.fstat(descriptor).st_blocks * 512
        read_answer(answer(width=side, height=side), descriptor, side * side)
        after = os.fstat(descriptor).st_blocks * 512
    assert before >= side * side * PIXEL_BYTES
    assert after <= 70_000_000


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"not json",
        b"[]",
        answer(width=-64),
        answer(width="64"),
        answer(frames=0),
        answer(width=10**30),
        answer(extra=1),
        answer(error="no_such_code"),
        b"{}",
    ],
)
def test_a_child_that_says_nonsense_is_lost(line: bytes) -> None:
    """A decoder in a stranger's hands can say anything; nothing of it is believed unread."""
    with memory() as descriptor, pytest.raises(DecoderLost):
        read_answer(line, descriptor, 5000)


def test_more_pixels_than_allowed_are_not_taken() -> None:
    """The bound holds against the child, too."""
    with memory() as descriptor, pytest.raises(DecoderLost):
        read_answer(answer(), descriptor, 64 * 48 - 1)
