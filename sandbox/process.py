"""A confined child as its parent sees it: start it, ask it, end it."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from sandbox.child import MESSAGE_BYTES, READY
from sandbox.memory import SealedMemory


#: The search path only: a child must hold no secret of its parent.
_INHERITED: Final = ("PATH", "PYTHONPATH")

#: Seconds that a child gets to exit after its socket is closed.
_EXIT_SECONDS: Final = 2.0


class ChildLost(Exception):
    """The child crashed, was killed, hung, or gave an answer that makes no sense."""

    status: int | None = None
    """How it ended, as `subprocess` says it; None until it is replaced."""


class ChildSilent(ChildLost):
    """The child did not answer in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What one request may take."""

    memory_bytes: int
    """Address space of the child."""
    cpu_seconds: int
    seconds: float
    """On the clock; the same for a child to start."""


class Child:
    """One child. Its methods block, and one thread at a time may call them."""

    def __init__(
        self, module: str, *, bounds: Bounds, shared_bytes: int, environment: dict[str, str]
    ) -> None:
        """
        Start it, without waiting until it is ready.

        Raises:
            OSError: it does not start; nothing is left open.

        """
        self._ready = False
        with ExitStack() as opened:
            self.memory = SealedMemory.create(shared_bytes)
            opened.callback(self.memory.close)
            self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            opened.callback(self._socket.close)
            self._socket.settimeout(bounds.seconds)
            numbers = (
                os.getpid(),
                self.memory.descriptor,
                bounds.memory_bytes,
                bounds.cpu_seconds,
            )
            inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
            with theirs:
                self._process = subprocess.Popen(  # noqa: S603 - a module of ours
                    [sys.executable, "-Wignore", "-m", module, *map(str, numbers)],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    pass_fds=(self.memory.descriptor,),
                    env=inherited | environment,
                )
            opened.pop_all()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def await_ready(self) -> None:
        """
        Wait until it serves.

        Raises:
            ChildLost, OSError: it ended, now or while it was idle.

        """
        if not self._ready:
            self._ready = self._socket.recv(MESSAGE_BYTES) == READY
        if not self._ready or self._process.poll() is not None:
            raise ChildLost

    def ask(self, data: Iterable[bytes], request: Mapping[str, int]) -> bytes:
        """
        Hand *data* and *request* over and wait for the answer.

        Raises:
            ChildLost: the child did not survive it.

        """
        try:
            size = self.memory.write(data)
            self._socket.send(json.dumps({"size": size, **request}).encode())
            message = self._socket.recv(MESSAGE_BYTES)
        except TimeoutError as error:
            raise ChildSilent from error
        except OSError as error:
            raise ChildLost from error
        if not message:
            raise ChildLost
        return message

    def kill(self) -> None:
        """End it at once; a thread that waits for its answer gets `ChildLost`."""
        self._process.kill()

    def end(self) -> int:
        """Close its socket, kill it if it does not exit; give its exit status."""
        self._socket.close()
        self.memory.close()
        try:
            return self._process.wait(_EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._process.wait()
