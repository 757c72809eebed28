"""Memory that a child and its parent share: nobody can pull it away, little of it is kept."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.child import KEPT_BYTES, SealedMemory


LENGTH = 10_000


@pytest.fixture
def memory() -> Iterator[SealedMemory]:
    """A small one."""
    opened = SealedMemory.create(LENGTH)
    yield opened
    opened.close()


def test_what_is_written_is_read(memory: SealedMemory) -> None:
    """From the beginning, each time, whatever the sizes of the pieces."""
    assert memory.write([b"first ", b"", b"and longer"]) == 16
    assert memory.write(iter([b"second"])) == 6
    assert memory.read(16) == b"secondand longer"


def test_its_length_cannot_be_changed(memory: SealedMemory) -> None:
    """To read what a hostile child has cut off would end this process with SIGBUS."""
    for length in (0, LENGTH - 1, LENGTH + 1):
        with pytest.raises(PermissionError):
            os.truncate(memory.descriptor, length)


def test_no_more_is_taken_than_there_is(memory: SealedMemory) -> None:
    """A child names lengths as it likes."""
    assert len(memory.read(LENGTH)) == LENGTH
    for size in (-1, LENGTH + 1, 10**30):
        with pytest.raises(ValueError, match=r"."):
            memory.read(size)
    with pytest.raises(ValueError, match="greater"):
        memory.mapped(LENGTH + 1)
    with pytest.raises(OSError, match="not permitted"):
        memory.write([bytes(LENGTH), b"x"])


def test_of_much_that_was_written_little_is_kept() -> None:
    """Pages over the bound go back to the kernel, all of them."""
    size = 200_000_000
    memory = SealedMemory.create(size)
    memory.write(bytes(1_000_000) for _ in range(200))
    before = os.fstat(memory.descriptor).st_blocks * 512
    memory.trim()
    after = os.fstat(memory.descriptor).st_blocks * 512
    memory.close()
    assert before >= size
    assert after <= KEPT_BYTES


def descriptors() -> int:
    """How many this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_a_length_that_cannot_be_leaves_nothing_open() -> None:
    """Negative control: one that can takes a descriptor."""
    before = descriptors()
    with pytest.raises(OSError, match="argument"):
        SealedMemory.create(-1)
    assert descriptors() == before
    memory = SealedMemory.create(1)
    assert descriptors() == before + 1
    memory.close()
