"""`s3 worker --devices`: an independent pair of programs for each device."""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import process_table
import pytest
import typer
from listeners import Environment
from pictures import shapes
from task_queue import Queue, until

from cli.processes import Program, Programs
from cli.worker import parse_devices, programs, run_until_last
from s3_sam3.contracts.tasks import TaskStatus


PORT = "8081"


@pytest.fixture
async def two_devices(environment: Environment) -> AsyncIterator[asyncio.subprocess.Process]:
    """`s3 worker --devices cpu,cpu` with the fake model."""
    own = environment(
        SAM3_WEIGHTS_PATH="fake:",
        PIPELINE_PORT=_two_free_ports(),
        LISTENER_CONCURRENCY=1,
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "s3_sam3.cli", "worker", "--devices", "cpu,cpu"),
        env={**os.environ, **own},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    yield process
    if process.returncode is None:
        process.kill()
        await process.wait()


async def test_two_devices_work_side_by_side(
    queue: Queue, two_devices: asyncio.subprocess.Process
) -> None:
    """Each device has its own listener and takes tasks; a stop ends all of it cleanly."""
    names = await _two_workers(queue)
    ids = []
    for _ in range(4):
        picture_key = await queue.another_picture()
        await queue.store.put(picture_key, shapes(), "image/png")
        ids.append(await queue.submit("red fake:wait=0.5", picture_key=picture_key))
    for task_id in ids:
        await queue.reaches(task_id, TaskStatus.DONE, seconds=30)
    programs = process_table.children(two_devices.pid)
    processes = process_table.descendants(two_devices.pid)
    two_devices.terminate()

    workers = [attempt["worker"] for each in ids for attempt in await queue.attempts(each)]
    assert set(workers) == names
    assert len(programs) == 4
    assert await two_devices.wait() == 0
    assert process_table.gone(processes, 5)


async def test_a_pipeline_that_lost_its_gpu_is_started_again(
    queue: Queue, two_devices: asyncio.subprocess.Process
) -> None:
    """A task that kills each model it meets fails after three attempts; then both serve again."""
    await _two_workers(queue)
    await queue.store.put(queue.picture_key, shapes(), "image/png")
    deadly = await queue.submit("fake:die")
    await queue.reaches(deadly, TaskStatus.FAILED, seconds=90)
    harmless = await queue.submit("red")
    await queue.reaches(harmless, TaskStatus.DONE, seconds=30)

    codes = [attempt["error_code"] for attempt in await queue.attempts(deadly)]
    assert codes == ["pipeline_failed"] * 3


async def _two_workers(queue: Queue) -> set[str]:
    """Wait until two workers that were not there before asked for tasks; their names."""

    async def known() -> set[str]:
        return {
            row["worker"] for row in await queue.rows("select worker from segmentation.workers")
        }

    before = await known()
    names: set[str] = set()

    async def both() -> bool:
        names.update(await known() - before)
        return len(names) == 2

    await until(both, seconds=30)
    return names


def _two_free_ports() -> int:
    """A free port whose next one is free too."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            try:
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


def test_each_device_has_its_own_port_and_listener() -> None:
    """Two pairs of programs that share nothing but the host's settings."""
    pairs = [programs({}, device) for device in parse_devices("cuda:0, cuda:1", port=PORT)]

    assert [one.name for pair in pairs for one in pair] == [
        *("pipeline-0", "listener-0", "pipeline-1", "listener-1")
    ]
    for place, (pipeline, listener) in enumerate(pairs):
        assert pipeline.env["SAM3_DEVICE"] == f"cuda:{place}"
        assert pipeline.env["PIPELINE_PORT"] == str(8081 + place)
        assert listener.env["LISTENER_PIPELINE_URL"] == f"http://127.0.0.1:{8081 + place}"


def test_one_device_changes_nothing() -> None:
    """Without a list nothing is added to what the host says; a list of one sets the device."""
    pipeline, listener = programs({})
    (alone,) = parse_devices("cuda:3", port=PORT)

    assert (pipeline.name, listener.name) == ("pipeline", "listener")
    assert "SAM3_DEVICE" not in pipeline.env
    assert listener.env["PIPELINE_PORT"] == PORT
    assert programs({}, alone)[0].env["SAM3_DEVICE"] == "cuda:3"


@pytest.mark.parametrize(
    ("text", "port", "said"),
    [
        ("", PORT, "'' is no device"),
        ("cuda:0,", PORT, "'' is no device"),
        ("cuda:0;cuda:1", PORT, "'cuda:0;cuda:1' is no device"),
        ("cuda:-1", PORT, "'cuda:-1' is no device"),
        ("0,1", PORT, "'0' is no device"),
        ("cuda:0,tpu", PORT, "'tpu' is no device"),
        ("cuda:1,cuda:1", PORT, "cuda:1 is named twice"),
        ("cuda,cuda:0", PORT, "cuda:0 is named twice"),
        ("auto,cpu", PORT, "auto means the one device"),
        ("cpu,cpu", "65535", "2 ports"),
        ("cpu,cpu", "0", "2 ports"),
        ("cpu,cpu", "http", "2 ports"),
    ],
)
def test_a_bad_list_is_explained(text: str, port: str, said: str) -> None:
    """What is wrong is named before anything starts."""
    with pytest.raises(typer.BadParameter, match=said):
        parse_devices(text, port=port)


def test_a_good_list_is_taken() -> None:
    """Negative control: these are right."""
    for text in ("auto", "cpu", "cuda", "cuda:0,cuda:1", "cpu,cpu,cuda:7"):
        assert len(parse_devices(text, port=PORT)) == text.count(",") + 1


async def test_a_device_lost_for_good_leaves_the_others(tmp_path: Path) -> None:
    """Its listener ends with it; the other pair goes on until the stop; the exit is clean."""
    lost, kept = (Programs(note=lambda _: None) for _ in range(2))
    ends = lost.start(_program(tmp_path, "ends", "raise SystemExit(78)"))
    beside = lost.start(_program(tmp_path, "beside", "import signal; signal.pause()"))
    works = kept.start(_program(tmp_path, "works", "import signal; signal.pause()"))
    stop = asyncio.Event()
    running = asyncio.create_task(run_until_last([lost, kept], stop))
    await until(lambda: ends.task.done() and beside.task.done())

    assert not works.task.done()
    assert not running.done()
    stop.set()
    assert await running == 0
    await kept.stop()


async def test_the_last_device_lost_ends_the_worker(tmp_path: Path) -> None:
    """Negative control: when nobody is left, the exit code says why."""
    groups = [Programs(note=lambda _: None) for _ in range(2)]
    for group in groups:
        group.start(_program(tmp_path, "ends", "raise SystemExit(78)"))

    assert await run_until_last(groups, asyncio.Event()) == 78


def _program(folder: Path, name: str, code: str) -> Program:
    (folder / f"{name}.py").write_text(code)
    return Program(name=name, module=name, env={"PYTHONPATH": str(folder)}, restart=True)
