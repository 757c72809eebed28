"""
What runs inside a confined child.

A module that reads unchecked bytes imports all it needs and calls `serve` when it is started with
`python -m`. Whatever hostile bytes do to its decoder, they do it in a process with bounds on memory
and CPU time, no secret in its environment, and no way to any other process.

The protocol: standard input is a socket. A request is one message of JSON, `{"size": …}` and
numbers of the module's own; the bytes it is about lie in the shared memory. The answer is one
message of JSON, and whatever is long lies in the memory in their place.
"""

import ctypes
import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any, Final

from sandbox.confinement import confine
from sandbox.memory import SealedMemory


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
