"""
What runs inside a confined child.

A module that reads unchecked bytes imports all it needs and calls `serve` when it is started with
`python -m`. Whatever hostile bytes do to its decoder, they do it in a process with bounds on memory
and CPU time, no secret in its environment, and no way to any other process.

The protocol: standard input is a socket. A request is one message of JSON, `{"size": …}` and
numbers of the module's own; the bytes it is about lie in the shared memory. The answer is one
message of JSON, and whatever is long lies in the memory in their place. Neither process can change
the memory's length.
"""

import ctypes
import fcntl
import json
import mmap
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Iterable
from typing import Any, Final, Self

from sandbox.confinement import confine


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


READY: Final = b"ready"

#: Most bytes of one message.
MESSAGE_BYTES: Final = 4096

_PR_SET_PDEATHSIG: Final = 1

#: Reads a request and the memory, gives the answer.
Answer = Callable[[dict[str, int], SealedMemory], dict[str, Any]]


def serve(answer: Answer) -> None:
    """
    Give up what is not needed, then answer requests until the parent closes its end.

    Nothing can be opened from here on, not even a module.
    """
    parent, descriptor, memory_bytes, cpu_seconds = map(int, sys.argv[1:5])
    memory = SealedMemory(descriptor)
    _bound(parent, memory_bytes)
    with socket.socket(fileno=os.dup(sys.stdin.fileno())) as requests:
        requests.send(READY)
        while message := requests.recv(MESSAGE_BYTES):
            _allow_cpu(cpu_seconds)
            requests.send(json.dumps(answer(json.loads(message), memory)).encode())


def _bound(parent: int, memory_bytes: int) -> None:
    """Confine this process, bound its memory, and have it end with its parent."""
    confine()
    # After `confine`: the kernel forgets this when a process changes its user.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit()  # the parent ended before it could be watched
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _allow_cpu(seconds: int) -> None:
    """Bound the next request; the kernel counts from the process's start."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(used.ru_utime + used.ru_stime) + 1 + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
