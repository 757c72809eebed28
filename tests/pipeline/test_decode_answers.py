"""What a child that decodes may say: all of it is doubted."""

import json
from collections.abc import Iterator

import pytest

from pipeline.decode.child import PIXEL_BYTES, Decoded
from pipeline.decode.pool import taken
from sandbox.child import SealedMemory


SIZE = (64, 48)


@pytest.fixture
def memory() -> Iterator[SealedMemory]:
    """What a child and its parent share."""
    opened = SealedMemory.create(64 * 48 * PIXEL_BYTES)
    yield opened
    opened.close()


def answer(**fields: object) -> bytes:
    """What a child says."""
    return json.dumps({"width": 64, "height": 48, "frames": 1} | fields).encode()


def test_an_honest_answer_is_taken(memory: SealedMemory) -> None:
    """Negative control of what follows."""
    found = taken(answer(), memory, 5000)
    assert isinstance(found, Decoded)
    assert found.picture.size == SIZE


@pytest.mark.parametrize(
    "message",
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
def test_nonsense_is_not_believed(message: bytes, memory: SealedMemory) -> None:
    """A child that a picture took over can say anything; nothing of it is used unchecked."""
    with pytest.raises(ValueError, match=r"."):
        taken(message, memory, 5000)


@pytest.mark.parametrize("most", [64 * 48 - 1, 10**9])
def test_more_pixels_than_there_are_are_not_taken(most: int, memory: SealedMemory) -> None:
    """The bound on pixels holds against the child, and so does the memory's length."""
    height = 48 if most < 64 * 48 else 49
    with pytest.raises(ValueError, match=r"."):
        taken(answer(height=height), memory, most)
