"""`s3 segment` of many pictures, `s3 export` and `s3 rethreshold`, against a whole S3."""

import json
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from journeys.service import Service
from pictures import shapes
from PIL import Image
from task_queue import until

from s3_sam3 import S3Client
from s3_sam3.cli import config
from s3_sam3.cli.batch_folder import State, read
from s3_sam3.contracts.manifest import Manifest


COUNT = 8
# A shell lets what it starts in the background ignore Ctrl-C, and that is inherited.
PROGRAM = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
    "from s3_sam3.cli import main; main()"
)
SLOW = "red circle fake:wait=0.3"


@pytest.fixture
async def shell(service: Service, s3: S3Client, tmp_path: Path) -> Callable[..., Any]:
    """Start `s3 …` as the user of *s3*; gives the running process."""
    home = tmp_path / "config"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(home))
        config.remember_service(service.settings)
        config.remember_session(s3.session.tokens)

    def start(*arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *arguments],
            env=service.environment(home),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.fixture
def run(shell: Callable[..., Any]) -> Callable[..., Any]:
    """The same, to its end: exit code, standard output, standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        process = shell(*arguments)
        said, told = process.communicate(timeout=90)
        return process.returncode, said, told

    return run


@pytest.fixture
def photos(tmp_path: Path) -> list[str]:
    """Pictures of different sizes, each with a red circle and a blue square."""
    folder = tmp_path / "photos"
    folder.mkdir()
    paths = [folder / f"{number}.png" for number in range(COUNT)]
    for number, path in enumerate(paths):
        path.write_bytes(shapes((320 + number, 240)))
    return [str(path) for path in paths]


async def ledger(s3: S3Client) -> dict[str, int]:
    """Action -> entries of the user's ledger."""
    actions = [entry.action.value for entry in (await s3.usage()).items]
    return {action: actions.count(action) for action in set(actions)}


def done_in(out: Path) -> int:
    """The pictures whose results are in a batch folder."""
    records = [read(place) for place in out.iterdir()] if out.exists() else []
    return sum(record is not None and record.state is State.DONE for record in records)


async def killed_half_way(process: Any, out: Path, sign: signal.Signals) -> None:
    """Wait for two results, then end the command with *sign*."""
    await until(lambda: done_in(out) >= 2, seconds=60)
    process.send_signal(sign)
    process.communicate(timeout=30)


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT])
async def test_killed_half_way_and_run_again_nothing_is_paid_twice(
    shell: Any, run: Any, s3: S3Client, photos: list[str], tmp_path: Path, sign: signal.Signals
) -> None:
    """Each picture is one task and one charge, whenever the command was killed."""
    out = tmp_path / "out"
    command = ("segment", *photos, SLOW, "-o", str(out), "-j", "3")
    await killed_half_way(shell(*command), out, sign)
    assert done_in(out) < COUNT
    code, said, told = run(*command)

    assert code == 0, told
    assert f"{COUNT} of {COUNT} pictures done" in said
    assert await ledger(s3) == {"grant": 1, "hold": COUNT, "capture": COUNT}


async def test_control_a_folder_that_forgot_everything_pays_again(
    shell: Any, run: Any, s3: S3Client, photos: list[str], tmp_path: Path
) -> None:
    """Negative control: the ledger shows it when another run submits the same pictures."""
    out = tmp_path / "out"
    command = ("segment", *photos, SLOW, "-j", "3", "-o")
    await killed_half_way(shell(*command, str(out)), out, signal.SIGKILL)
    code, _, told = run(*command, str(tmp_path / "other"))

    assert code == 0, told
    assert (await ledger(s3))["hold"] > COUNT


async def test_ctrl_c_says_how_to_go_on(shell: Any, photos: list[str], tmp_path: Path) -> None:
    """Ctrl-C ends it with 130, one sentence and no traceback."""
    out = tmp_path / "out"
    process = shell("segment", *photos, SLOW, "-o", str(out))
    await until(lambda: done_in(out) >= 1, seconds=60)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=30)

    assert process.returncode == 130
    assert "the same command fetches them" in told
    assert "Traceback" not in told


async def test_one_bad_file_is_a_row_and_exit_code_1(
    run: Any, s3: S3Client, photos: list[str], tmp_path: Path
) -> None:
    """A text file among the pictures is a row with its reason; the others are done and paid."""
    fake = tmp_path / "photos" / "fake.png"
    fake.write_text("hello")
    code, said, told = run(
        "segment", *photos[:2], str(fake), "red circle", "blue square", "-o", str(tmp_path / "out")
    )

    assert code == 1
    assert "2 of 3 pictures done" in said
    assert "unsupported_media_type" in told
    assert (await s3.me()).credits == 96


async def test_a_missing_file_asks_nothing(
    run: Any, s3: S3Client, photos: list[str], tmp_path: Path
) -> None:
    """A misspelt picture is a usage error before anything is submitted."""
    code, _, told = run("segment", photos[0], "nope.png", "dog", "-o", str(tmp_path / "out"))

    assert code == 2
    assert "nope.png" in told
    assert (await s3.me()).credits == 100


async def test_a_batch_is_exported_as_one_data_set(
    run: Any, photos: list[str], tmp_path: Path
) -> None:
    """COCO of the folder has all pictures; cut-outs need no --picture."""
    out = tmp_path / "out"
    run("segment", *photos[:3], "red circle", "-o", str(out))
    code, _, told = run("export", str(out), "-f", "coco", "-o", str(tmp_path / "coco"))
    cut = run("export", str(out), "-f", "cutout", "-o", str(tmp_path / "cut"))
    coco = json.loads((tmp_path / "coco" / "coco.json").read_text())

    assert (code, cut[0]) == (0, 0), told
    assert [each["file_name"] for each in coco["images"]] == ["0.png", "1.png", "2.png"]
    assert len(coco["annotations"]) == 3
    assert len(list((tmp_path / "cut").glob("*/*.png"))) == 3


async def test_a_task_is_exported_by_its_id(run: Any, s3: S3Client, tmp_path: Path) -> None:
    """The manifest and the picture come from the service."""
    found = await s3.segment(shapes(), "red circle")
    code, _, told = run(
        "export", str(found.result.task_id), "-f", "cutout", "-o", str(tmp_path / "cut")
    )
    [path] = (tmp_path / "cut").glob("*/*.png")

    assert code == 0, told
    with Image.open(path) as cut:
        assert cut.mode == "RGBA"


async def test_a_batch_is_rethresholded_here_and_a_task_at_the_service(
    run: Any, s3: S3Client, tmp_path: Path
) -> None:
    """Both ways give the same manifest, and cost nothing."""
    found = await s3.segment(shapes(), "red circle", "blue square")
    found.save(tmp_path / "here")
    changes = ("--threshold", "0.95", "-o")
    code, _, told = run("rethreshold", str(tmp_path / "here"), *changes, str(tmp_path / "new"))
    asked = run("rethreshold", str(found.result.task_id), *changes, str(tmp_path / "asked"))
    here, there = (
        Manifest.model_validate_json((tmp_path / name / "manifest.json").read_bytes())
        for name in ("new", "asked")
    )

    assert (code, asked[0]) == (0, 0), told + asked[2]
    assert here == there
    assert [len(prompt.instances) for prompt in here.prompts] == [0, 1]
    assert (tmp_path / "asked" / "overlay.webp").exists()
    assert (await s3.me()).credits == 98


async def test_under_the_floor_is_refused_with_what_to_do(
    run: Any, s3: S3Client, tmp_path: Path
) -> None:
    """Both ways refuse what the manifest does not keep."""
    found = await s3.segment(shapes(), "red circle")
    found.save(tmp_path / "here")
    for source in (str(tmp_path / "here"), str(found.result.task_id)):
        code, _, told = run("rethreshold", source, "--threshold", "0.01")

        assert code == 1
        assert "floor" in told


async def test_a_task_that_is_not_there_is_told(run: Any, tmp_path: Path) -> None:
    """An unknown id is `not_found`."""
    code, _, told = run("export", str(uuid.uuid4()), "-f", "coco", "-o", str(tmp_path))

    assert code == 1
    assert "not_found" in told
    assert not (tmp_path / "coco.json").exists()
