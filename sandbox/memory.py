"""A piece of memory that two processes share and whose length neither can change."""

import fcntl
import mmap
import os
from collections.abc import Iterable
from typing import Final, Self


#: A reader whose memory another process has cut off would die of a SIGBUS.
_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL

#: `trim` keeps so many bytes, since new pages cost more than a copy: a picture of 16 megapixels.
KEPT_BYTES: Final = 67_108_864


class SealedMemory:
    """Memory without a name; the kernel frees it when its last holder is gone."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @classmethod
    def create(cls, size: int) -> Self:
        """Reserve *size* bytes; pages are taken when they are written."""
        descriptor = os.memfd_create("sandbox", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.truncate(descriptor, size)
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
        except OSError:
            os.close(descriptor)
            raise
        return cls(descriptor)

    @property
    def size(self) -> int:
        """Its length in bytes."""
        return os.fstat(self.descriptor).st_size

    def write(self, chunks: Iterable[bytes]) -> int:
        """
        Put *chunks* at the beginning, one after the other; give their length together.

        Raises:
            OSError: they are longer than the memory.

        """
        os.lseek(self.descriptor, 0, os.SEEK_SET)
        with os.fdopen(self.descriptor, "wb", closefd=False) as file:
            return sum(file.write(chunk) for chunk in chunks)

    def read(self, size: int) -> bytes:
        """
        Copy the first *size* bytes.

        Raises:
            ValueError: there are fewer.

        """
        if not 0 <= size <= self.size:
            msg = f"the memory has no {size} bytes"
            raise ValueError(msg)
        return os.pread(self.descriptor, size, 0)

    def mapped(self, size: int) -> mmap.mmap:
        """
        Map the first *size* bytes. The other process may still change them.

        Raises:
            ValueError: there are fewer.

        """
        return mmap.mmap(self.descriptor, size)

    def trim(self) -> None:
        """Give back all pages but the first KEPT_BYTES."""
        if self.size > KEPT_BYTES:
            with mmap.mmap(self.descriptor, self.size) as everything:
                everything.madvise(mmap.MADV_REMOVE, KEPT_BYTES)

    def close(self) -> None:
        os.close(self.descriptor)
