"""The pool of confined children, around one that only echoes."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from process_table import alive, gone

from sandbox.child import SealedMemory
from sandbox.pool import Bounds, Child, ChildLost, ChildPool, ChildSilent, NoChild


BOUNDS = Bounds(memory_bytes=2**30, cpu_seconds=1, seconds=60)
HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Children find the echo beside this file."""
    monkeypatch.setenv("PYTHONPATH", f"{HERE}:{HERE.parents[1]}")


def pool(children: int = 1, *, reused: bool = True, bounds: Bounds = BOUNDS) -> ChildPool:
    """A pool of echoes."""
    return ChildPool(
        "echo_child", children=children, bounds=bounds, shared_bytes=1000, reused=reused
    )


def said(message: bytes, memory: SealedMemory) -> dict[str, Any]:
    """The answer, with the text beside it."""
    answer: dict[str, Any] = json.loads(message)
    return {**answer, "text": memory.read(answer["size"])} if "size" in answer else answer


async def ask(opened: ChildPool, **request: int) -> dict[str, Any]:
    """Have `hello` echoed."""
    return await opened.run([b"hel", b"lo"], said, request=request)


@pytest.mark.parametrize("reused", [True, False])
async def test_a_child_serves_many_or_one(*, reused: bool) -> None:
    """A child that is reused serves all requests; otherwise each request has its own."""
    async with pool(reused=reused) as opened:
        answers = [await ask(opened) for _ in range(3)]
    assert [answer["text"] for answer in answers] == [b"HELLO"] * 3
    assert len({answer["pid"] for answer in answers}) == (1 if reused else 3)
    assert gone([answer["pid"] for answer in answers], 10)


async def test_a_crash_fails_its_own_request() -> None:
    """The status says how the child ended; the next request has another child."""
    async with pool() as opened:
        [before] = opened.pids
        with pytest.raises(ChildLost) as caught:
            await ask(opened, crash=1)
        assert caught.value.status == -signal.SIGSEGV
        assert (await ask(opened))["pid"] != before


async def test_cpu_time_is_bounded() -> None:
    """A child that spins is ended by the kernel, before the clock's bound."""
    async with pool() as opened:
        with pytest.raises(ChildLost) as caught:
            await ask(opened, spin=1)
        assert caught.value.status == -signal.SIGXCPU


async def test_the_clock_is_bounded() -> None:
    """A child that stands still uses no CPU time, and is killed all the same."""
    async with pool(bounds=Bounds(memory_bytes=2**30, cpu_seconds=2, seconds=3)) as opened:
        before = (await ask(opened))["pid"]
        os.kill(before, signal.SIGSTOP)
        with pytest.raises(ChildSilent):
            await ask(opened)
        assert not alive(before)
        assert (await ask(opened))["text"] == b"HELLO"


async def test_memory_is_bounded() -> None:
    """What is over the bound the child does not get; below it, it does (negative control)."""
    async with pool() as opened:
        assert await ask(opened, take=2**31) == {"memory": True}
        assert (await ask(opened, take=2**20))["text"] == b"HELLO"


async def test_nonsense_costs_the_child_its_place() -> None:
    """A child that says what no honest one says is replaced."""

    def doubted(message: bytes, memory: SealedMemory) -> None:
        raise ValueError

    async with pool() as opened:
        [before] = opened.pids
        with pytest.raises(ChildLost):
            await opened.run([b"x"], doubted)
        assert before not in opened.pids
        assert (await ask(opened))["text"] == b"HELLO"


async def test_a_child_that_ended_while_idle_fails_no_request() -> None:
    """The next request goes to another one."""
    async with pool() as opened:
        await ask(opened)
        [before] = opened.pids
        os.kill(before, signal.SIGKILL)
        assert gone([before], 10)
        assert (await ask(opened))["text"] == b"HELLO"


async def test_children_that_do_not_start_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """No request is blamed for it, and when they start again all is well."""
    with monkeypatch.context() as broken:
        broken.setattr(sys, "executable", "/bin/false")
        async with pool() as opened:
            with pytest.raises(NoChild):
                await ask(opened)
            broken.undo()
            monkeypatch.setenv("PYTHONPATH", f"{HERE}:{HERE.parents[1]}")
            assert (await ask(opened))["text"] == b"HELLO"


def descriptors() -> int:
    """How many this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_a_child_that_does_not_start_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Requests that come while no child starts take no descriptors.

    Negative control: a child that starts has two.
    """

    def new() -> Child:
        return Child("echo_child", bounds=BOUNDS, shared_bytes=1000, environment={})

    before = descriptors()
    child = new()
    assert descriptors() == before + 2
    child.end()
    monkeypatch.setattr(sys, "executable", "/no/such/program")
    for _ in range(3):
        with pytest.raises(FileNotFoundError):
            new()
    assert descriptors() == before
