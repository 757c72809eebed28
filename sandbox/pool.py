"""
Confined children as their parent sees them: start, ask and end one; keep a pool of them.

No pool of `concurrent.futures` or pebble: their children inherit every secret of the environment,
what a child sends is unpickled (a decoder that hostile bytes took over would own the parent), and
one that is killed while idle breaks the pool for good.
"""

import asyncio
import json
import os
import queue
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Self, TypeVar

from runtime import logs
from sandbox.child import MESSAGE_BYTES, READY, SealedMemory
from sandbox.confinement import hide


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


log = logs.get_logger(__name__)

Result = TypeVar("Result")

Read = Callable[[bytes, SealedMemory], Result]
"""Reads an answer and the memory beside it. Raises ValueError where no honest child says so."""


class NoChild(Exception):
    """No child starts; its standard error says why."""


class ChildPool:
    """Children that are started before they are needed, each with one request at a time."""

    def __init__(
        self,
        module: str,
        *,
        children: int,
        bounds: Bounds,
        shared_bytes: int,
        reused: bool,
        environment: dict[str, str] | None = None,
    ) -> None:
        """
        Start nothing yet.

        *shared_bytes* is the length of the memory that a child shares with this process. A child
        that is *reused* serves many requests; otherwise each request has a child of its own.
        """
        self._module = module
        self._count = children
        self._reused = reused
        self._new = partial(
            Child,
            module,
            bounds=bounds,
            shared_bytes=shared_bytes,
            environment=environment or {},
        )
        self._threads = ThreadPoolExecutor(children, thread_name_prefix=module)
        # None stands for a child that did not start.
        self._idle: queue.SimpleQueue[Child | None] = queue.SimpleQueue()
        self._children: set[Child] = set()

    async def __aenter__(self) -> Self:
        """Start the children without waiting until they are ready; hide from them."""
        hide()
        for _ in range(self._count):
            self._start()
        return self

    async def __aexit__(self, *_error: object) -> None:
        """End the children and whatever they work on."""
        for child in tuple(self._children):
            child.kill()
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)
        for child in self._children:
            child.kill()
            child.end()

    @property
    def pids(self) -> list[int]:
        """Process ids of the children."""
        return [child.pid for child in tuple(self._children)]

    async def run(
        self,
        data: Iterable[bytes],
        read: Read[Result],
        *,
        request: Mapping[str, int] | None = None,
        during: Callable[[Future[Any]], None] = lambda _: None,
    ) -> Result:
        """
        Have a child work on *data*, as *request* says, and *read* what it answers.

        *during* is told of the work, which goes on in a thread when this is cancelled; what has not
        begun then never does.

        Raises:
            ChildLost: the child did not survive the work; another one stands in its place.
            NoChild: no child starts.

        """
        work = self._threads.submit(self._run, data, request or {}, read)
        during(work)
        return await asyncio.wrap_future(work)

    def _run(self, data: Iterable[bytes], request: Mapping[str, int], read: Read[Result]) -> Result:
        child = self._ready()
        try:
            message = child.ask(data, request)
            result = _read(read, message, child.memory)
        except ChildLost as lost:
            if isinstance(lost, ChildSilent):
                child.kill()
            lost.status = self._replace(child)
            log.warning("child_lost", module=self._module, status=lost.status)
            raise
        except BaseException:  # this process's own fault; the pool must not lose the child's slot
            self._replace(child)
            raise
        if self._reused:
            child.memory.trim()
            self._idle.put(child)
        else:
            child.kill()
            self._replace(child)
        return result

    def _ready(self) -> Child:
        """Take a child that is ready. One that ended while it was idle is replaced."""
        for _ in range(1 + self._count):
            child = self._idle.get()
            if child is None:
                self._start()
                continue
            try:
                child.await_ready()
            except (ChildLost, OSError):
                log.warning("child_gone", module=self._module, status=self._replace(child))
            else:
                return child
        raise NoChild

    def _replace(self, child: Child) -> int:
        """Start another child, then end *child*; give its exit status."""
        self._children.discard(child)
        self._start()
        return child.end()

    def _start(self) -> None:
        """Start a child; where that fails its slot waits for the next request."""
        try:
            child = self._new()
        except OSError:
            log.exception("child_does_not_start", module=self._module)
            self._idle.put(None)
            return
        self._children.add(child)
        self._idle.put(child)


def _read(read: Read[Result], message: bytes, memory: SealedMemory) -> Result:
    try:
        return read(message, memory)
    except ValueError as error:
        raise ChildLost from error
