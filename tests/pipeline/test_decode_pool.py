"""Children decode: what one of them suffers is no one else's, and none outlives its parent."""

import asyncio
import fcntl
import os
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from odd_pictures.jpegs import jpeg
from odd_pictures.making import quarters, saved
from pipeline_client import Log, become, command
from process_table import alive, descendants, gone

from pipeline.decode.child import decode
from pipeline.decode.pool import DecodePool
from pipeline.errors import PipelineError, Refused
from s3_sam3.contracts.errors import ErrorCode


SIZE = (64, 48)


@pytest.fixture
async def pool() -> AsyncIterator[DecodePool]:
    """A pool of one child, which has decoded a picture."""
    async with DecodePool(1) as opened:
        await opened.decode(jpeg())
        yield opened


async def busy(pool: DecodePool) -> asyncio.Task[object]:
    """Have the one child stand still over a picture that it was given."""
    [child] = pool._children
    os.kill(child.pid, signal.SIGSTOP)
    # Until the signal has arrived the child might still take the picture.
    await become(lambda: told(child.pid, "stat").rpartition(b")")[2].split()[0] == b"T")
    task = asyncio.create_task(pool.decode(jpeg()))

    def given() -> bool:
        """Whether the socket holds something that the child has not taken."""
        unread = fcntl.ioctl(child._socket, termios.TIOCOUTQ, bytes(4))
        return bool(struct.unpack("i", unread)[0])

    await become(given)
    return task


async def reason(task: asyncio.Task[object]) -> str:
    """Why a picture was refused, which was found invalid."""
    with pytest.raises(Refused) as caught:
        await task
    assert caught.value.code is ErrorCode.INVALID_IMAGE
    return caught.value.message


async def test_a_child_decodes_as_we_would(pool: DecodePool) -> None:
    """The same pixels and frames, whatever the size of the strips they came in."""
    for size in ((1, 1), SIZE, (1, 40_000), (20_001, 3), (1501, 1003)):
        data = saved(quarters(*size), "PNG")
        here, there = decode(data), await pool.decode(data)
        assert np.array_equal(np.asarray(here.picture), np.asarray(there.picture))
        assert here.frames == there.frames


async def test_a_child_serves_many(pool: DecodePool) -> None:
    """One process for all pictures, refused ones among them."""
    before = pool.pids
    for data in (jpeg(), jpeg()[:-50], b"\x89PNG\r\n\x1a\n", jpeg()):
        await asyncio.gather(pool.decode(data), return_exceptions=True)
    assert pool.pids == before


async def test_a_crash_fails_its_own_picture(pool: DecodePool) -> None:
    """The picture is invalid, the next one is decoded by another child."""
    task = await busy(pool)
    [before] = pool.pids
    os.kill(before, signal.SIGSEGV)
    os.kill(before, signal.SIGCONT)
    assert "crashed" in await reason(task)
    assert (await pool.decode(jpeg())).picture.size == SIZE
    assert before not in pool.pids


async def test_a_child_killed_for_its_memory_is_said_to_be(pool: DecodePool) -> None:
    """The kernel kills with SIGKILL, and the sender of the picture should know why."""
    task = await busy(pool)
    os.kill(pool.pids[0], signal.SIGKILL)
    assert "memory" in await reason(task)
    assert (await pool.decode(jpeg())).picture.size == SIZE


async def test_a_child_out_of_time_is_said_to_be(pool: DecodePool) -> None:
    """SIGXCPU is what the bound on CPU time sends."""
    task = await busy(pool)
    os.kill(pool.pids[0], signal.SIGXCPU)
    os.kill(pool.pids[0], signal.SIGCONT)
    assert "too long" in await reason(task)


async def test_a_child_that_hangs_is_replaced() -> None:
    """A child that does not answer in time is killed, since it may be unable to exit."""
    async with DecodePool(1, seconds=5) as pool:
        await pool.decode(jpeg())
        [child] = pool._children
        child._socket.settimeout(0.2)
        hung = child.pid
        task = await busy(pool)
        assert "too long" in await reason(task)
        assert not alive(hung)
        assert (await pool.decode(jpeg())).picture.size == SIZE


async def test_a_child_killed_while_idle_blames_no_picture(pool: DecodePool) -> None:
    """The next picture goes to another child."""
    [before] = pool.pids
    os.kill(before, signal.SIGKILL)
    assert gone([before], 10)
    assert (await pool.decode(jpeg())).picture.size == SIZE


async def test_children_that_do_not_start_are_our_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture is not refused for what it has not done."""
    monkeypatch.setattr(sys, "executable", "/bin/false")
    async with DecodePool(1) as pool:
        with pytest.raises(PipelineError) as caught:
            await pool.decode(jpeg())
    assert caught.value.code is ErrorCode.PIPELINE_FAILED


def told(pid: int, what: str) -> bytes:
    """What the kernel tells of a process."""
    return Path(f"/proc/{pid}/{what}").read_bytes()


#: A child is hidden from its user's other processes, and so from a test that is not root.
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root sees what a child holds")


@needs_root
async def test_a_child_holds_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its environment is its search path, even in the memory that the kernel shows."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    async with DecodePool(1) as pool:
        await pool.decode(jpeg())
        variables = told(pool.pids[0], "environ").split(b"\0")
    names = {one.partition(b"=")[0] for one in variables}
    assert names <= {b"PATH", b"PYTHONPATH", b"PILLOW_BLOCKS_MAX", b""}


@needs_root
async def test_a_child_is_small(pool: DecodePool) -> None:
    """It has Pillow, and nothing of the model."""
    maps = told(pool.pids[0], "maps")
    assert b"_imaging" in maps
    assert b"torch" not in maps
    assert b"numpy" not in maps


async def test_none_is_left_after_the_end() -> None:
    """Closing the pool ends its children, idle or not yet ready."""
    async with DecodePool(2) as pool:
        pids = pool.pids
    assert len(pids) == 2
    assert gone(pids, 10)


async def test_the_end_does_not_wait_for_a_picture_that_hangs() -> None:
    """Who stops the pipeline waits for nothing that nobody reads."""
    async with DecodePool(1) as pool:
        await pool.decode(jpeg())
        task = await busy(pool)
        pids = pool.pids
    await reason(task)
    assert gone(pids, 10)


PARENT = """
import asyncio, signal
from pipeline.decode.pool import DecodePool

async def main():
    async with DecodePool(2) as pool:
        await pool.decode(open({path!r}, "rb").read())
        await asyncio.gather(*(pool.decode(open({path!r}, "rb").read()) for _ in range(2)))
        print(*pool.pids, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def test_none_outlives_a_parent_that_is_killed(tmp_path: Path) -> None:
    """Not even one that stands still and cannot see its socket close."""
    picture = tmp_path / "picture"
    picture.write_bytes(jpeg())
    code = PARENT.format(path=str(picture))
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert all(alive(pid) for pid in pids)
        os.kill(pids[0], signal.SIGSTOP)
        parent.kill()
    assert len(pids) == 2
    assert gone(pids, 10)


def test_none_outlives_a_pipeline_that_is_killed() -> None:
    """The same of the whole server, as an operator starts it."""
    environ = {
        "PATH": os.environ["PATH"],
        "API_SECRET_KEY": "key",
        "PIPELINE_PORT": "0",
        "SAM3_WEIGHTS_PATH": "fake:",
    }
    started = command(decoders=3)
    with subprocess.Popen(started, env=environ, stderr=subprocess.PIPE, text=True) as server:
        Log(server).line("pipeline_listening")
        children = descendants(server.pid)
        server.kill()
    assert len(children) == 3
    assert gone(children, 10)
