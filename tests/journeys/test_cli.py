"""The `s3` command as a shell runs it, against a whole S3."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from journeys.service import Service
from pictures import shapes


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(service: Service, tmp_path: Path) -> Run:
    """Run `s3 …` as a user of its own."""

    def run(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        config = tmp_path / "config"
        return subprocess.run(
            [sys.executable, "-m", "s3_sam3.cli", *arguments],
            env={**service.environment(config), **env},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.fixture
def signed_in(run: Run) -> Run:
    """The same, after `s3 login --sign-up`."""
    made = run(
        "login",
        "--sign-up",
        "--email",
        f"c{os.urandom(5).hex()}@example.org",
        S3_PASSWORD="correct horse",
    )
    assert made.returncode == 0, made.stderr
    return run


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A picture on disk."""
    path = tmp_path / "picture.png"
    path.write_bytes(shapes())
    return path


def test_segment_writes_the_files_and_prints_the_table(
    signed_in: Run, picture: Path, tmp_path: Path
) -> None:
    """`s3 segment photo "red circle" -o out/` finds it and prints the paths of the files."""
    done = signed_in("segment", str(picture), "red circle", "-o", str(tmp_path / "out"))

    assert done.returncode == 0, done.stderr
    assert "red circle" in done.stdout
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "manifest.json",
        "mask.png",
        "overlay.webp",
    }


def test_json_is_one_document(signed_in: Run, picture: Path) -> None:
    """With --json standard output is one JSON document and nothing else."""
    done = signed_in("segment", str(picture), "red circle", "blue square", "--json")

    document = json.loads(done.stdout)
    assert [len(each["instances"]) for each in document["manifest"]["prompts"]] == [1, 1]


def test_results_and_status_tell_what_was_asked(signed_in: Run, picture: Path) -> None:
    """A result is listed, its status is shown, and its price is charged."""
    done = json.loads(signed_in("segment", str(picture), "red circle", "--json").stdout)

    assert done["task_id"] in signed_in("results").stdout
    assert "done" in signed_in("status", done["task_id"]).stdout
    assert json.loads(signed_in("status", "--json").stdout)["credits"] == "99"


def test_a_task_that_nobody_can_do_says_so(signed_in: Run, picture: Path) -> None:
    """`s3 status` says that no machine online can do it; at its deadline it ends without charge."""
    asked = ("segment", str(picture), "red circle", "--memory-mb", "1000000")
    left = signed_in(*asked, "--timeout", "0.2")
    task = json.loads(signed_in("results", "--json").stdout)["items"][0]["task_id"]
    told = signed_in("status", task)
    expired = signed_in(*asked, "--deadline", "1")

    assert left.returncode == 5
    assert "waits: no machine online can do this" in told.stdout
    assert expired.returncode == 1
    assert "expired" in expired.stderr
    assert json.loads(signed_in("status", "--json").stdout)["credits"] == "99"


def test_without_a_session_it_says_so(run: Run, picture: Path) -> None:
    """A command without a session exits 3 and names the command that makes one."""
    refused = run("segment", str(picture), "red circle")

    assert refused.returncode == 3
    assert "s3 login" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_wrong_password_is_refused(run: Run) -> None:
    """Wrong credentials exit 3 with Auth's own sentence."""
    refused = run("login", "--email", "nobody@example.org", S3_PASSWORD="wrong password")

    assert refused.returncode == 3
    assert "Traceback" not in refused.stderr


def test_a_text_file_is_no_picture(signed_in: Run, tmp_path: Path) -> None:
    """A text file named .png is refused with the reason, and costs nothing."""
    fake = tmp_path / "fake.png"
    fake.write_text("hello")
    refused = signed_in("segment", str(fake), "red circle")

    assert refused.returncode == 1
    assert "unsupported_media_type" in refused.stderr
    assert json.loads(signed_in("status", "--json").stdout)["credits"] == "100"


def test_nobody_there(signed_in: Run, picture: Path) -> None:
    """An address without a service exits 4."""
    lost = signed_in("segment", str(picture), "red circle", S3_API_URL="http://127.0.0.1:9")

    assert lost.returncode == 4


def test_a_worker_without_settings_says_which(run: Run) -> None:
    """`s3 worker` without its settings names them and starts nothing."""
    refused = run("worker", SUPABASE_URL="", SUPABASE_ANON_KEY="")

    assert refused.returncode == 1
    assert "SUPABASE_ANON_KEY" in refused.stderr


def test_logout_ends_the_session(signed_in: Run) -> None:
    """After `s3 logout` nobody is signed in."""
    assert signed_in("logout").returncode == 0
    assert signed_in("results").returncode == 3
