"""The life of a devstack: start, restart, stop, and death."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import process_table
import psycopg
import pytest

from devstack import ports, testing


if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


NewDevstack = Callable[..., testing.DevstackProcess]

VARIABLES = [
    "SUPABASE_URL",
    "SUPABASE_ANON_KEY",
    "SUPABASE_SERVICE_KEY",
    "SUPABASE_JWT_SECRET",
    "SUPABASE_DB_URL",
    "R2_ENDPOINT",
    "R2_ACCESS_KEY_ID",
    "R2_SECRET_ACCESS_KEY",
    "R2_BUCKET",
]


@pytest.fixture
def no_migrations(tmp_path: Path) -> list[str]:
    """Flags of a stack without the project's migrations, which these laws do not need."""
    (tmp_path / "migrations").mkdir()
    return ["--migrations-dir", str(tmp_path / "migrations")]


def test_everything_answers_when_the_env_file_appears(stack: testing.Stack) -> None:
    """The env file names nine variables, and what they name works at once."""
    assert list(stack.env) == VARIABLES
    assert answers(stack)
    with psycopg.connect(stack.db_url) as connection:
        assert connection.execute("select 1").fetchone() == (1,)
    assert bucket_of(stack).list_objects_v2(Bucket=stack.r2_bucket)["KeyCount"] >= 0


def test_a_killed_stack_leaves_nothing_running_and_loses_nothing(
    new_devstack: NewDevstack, no_migrations: list[str]
) -> None:
    """After SIGKILL of `up` no program and no port is left; the next start has data and keys."""
    killed = new_devstack(*no_migrations)
    before = killed.wait_ready()
    programs = process_table.descendants(before.pid)
    with psycopg.connect(before.db_url, autocommit=True) as connection:
        connection.execute("create table public.kept as select 42 as answer")
    bucket_of(before).put_object(Bucket=before.r2_bucket, Key="kept", Body=b"42")

    os.kill(before.pid, signal.SIGKILL)
    killed.wait()

    assert len(programs) >= 4  # two guards, PostgreSQL, SeaweedFS
    assert process_table.gone(programs, seconds=10)
    assert all(ports.is_free(port) for port in kept_ports(before.state_dir))
    after = new_devstack(*no_migrations).wait_ready()
    assert after.env == before.env
    with psycopg.connect(after.db_url) as connection:
        assert connection.execute("select answer from public.kept").fetchone() == (42,)
    body = bucket_of(after).get_object(Bucket=after.r2_bucket, Key="kept")["Body"].read()
    assert body == b"42"


def test_a_program_without_a_guard_outlives_its_killed_parent() -> None:
    """Negative control of the guard: this is what would happen without it."""
    parent = subprocess.Popen(
        ["/bin/sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $!; wait"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    orphan = int(parent.stdout.readline())

    parent.kill()
    parent.communicate()

    assert not process_table.gone([orphan], seconds=0.3)
    os.kill(orphan, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_everything(
    new_devstack: NewDevstack, no_migrations: list[str], number: signal.Signals
) -> None:
    """Ctrl-C and SIGTERM end every program, take the env file away, and count as success."""
    running = new_devstack(*no_migrations)
    programs = process_table.descendants(running.wait_ready().pid)

    running.process.send_signal(number)

    assert running.wait() == 0
    assert process_table.gone(programs, seconds=0)
    assert not running.env_file.exists()


def test_a_stack_with_a_lifeline_ends_with_its_starter(
    new_devstack: NewDevstack, no_migrations: list[str]
) -> None:
    """With `--lifeline` the end of standard input stops all: a killed test leaves nothing."""
    running = new_devstack(*no_migrations)
    programs = process_table.descendants(running.wait_ready().pid)

    running.cut_lifeline()

    assert running.wait() == 0
    assert process_table.gone(programs, seconds=0)


def test_a_signal_during_the_start_stops_everything(
    new_devstack: NewDevstack, no_migrations: list[str]
) -> None:
    """Impatience leaves nothing behind either, and the next start works."""
    starting = new_devstack(*no_migrations)
    programs = until(lambda: process_table.descendants(starting.process.pid), seconds=10)

    starting.process.send_signal(signal.SIGTERM)

    assert starting.wait() == 0
    assert process_table.gone(programs, seconds=0)
    assert answers(new_devstack(*no_migrations).wait_ready())


def test_a_program_that_dies_ends_the_stack(
    new_devstack: NewDevstack, no_migrations: list[str]
) -> None:
    """A stack without its database says so and ends; it does not linger half alive."""
    running = new_devstack(*no_migrations)
    state_dir = running.wait_ready().state_dir
    postmaster = int((state_dir / "postgres" / "postmaster.pid").read_text().split()[0])

    os.kill(postmaster, signal.SIGQUIT)

    assert running.wait() == 1
    assert "postgres ended" in running.errors()


def test_a_second_stack_on_the_same_state_is_refused(stack: testing.Stack) -> None:
    """Two stacks never share a state directory; the second says which process has it."""
    second = devstack("up", "--state-dir", str(stack.state_dir))

    assert second.returncode == 2
    assert f"already runs on {stack.state_dir} (process {stack.pid})" in second.stderr


def test_env_and_status_speak_of_the_running_stack(stack: testing.Stack) -> None:
    """`env` prints the env file, `status` the address."""
    env = devstack("env", "--state-dir", str(stack.state_dir))
    status = devstack("status", "--state-dir", str(stack.state_dir))

    assert env.stdout.splitlines() == [f"{name}={value}" for name, value in stack.env.items()]
    assert status.stdout == f"Running at {stack.url} (process {stack.pid}).\n"


def test_env_and_status_say_when_nothing_runs(tmp_path: Path) -> None:
    """Without a stack both fail, with a code of their own."""
    answers = [devstack(command, "--state-dir", str(tmp_path)) for command in ("env", "status")]

    assert [answer.returncode for answer in answers] == [3, 3]
    assert "No devstack runs" in answers[0].stderr


def test_reset_refuses_a_running_stack(stack: testing.Stack) -> None:
    """Nobody loses data under a running stack."""
    refused = devstack("reset", "--state-dir", str(stack.state_dir))

    assert refused.returncode == 2
    assert (stack.state_dir / "state.json").exists()


def test_reset_refuses_a_foreign_directory(tmp_path: Path) -> None:
    """A mistyped path costs nothing."""
    (tmp_path / "thesis.txt").write_text("precious")

    refused = devstack("reset", "--state-dir", str(tmp_path))

    assert refused.returncode == 1
    assert (tmp_path / "thesis.txt").exists()


def test_reset_forgets_a_stopped_stack(new_devstack: NewDevstack, no_migrations: list[str]) -> None:
    """After a reset the directory is gone."""
    process = new_devstack(*no_migrations)
    state_dir = process.wait_ready().state_dir
    process.stop()

    assert devstack("reset", "--state-dir", str(state_dir)).returncode == 0
    assert not state_dir.exists()


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    """A port in use is said to be, with what to do about it."""
    with socket.socket() as taken:
        taken.bind((ports.HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]

        refused = devstack("up", "--state-dir", str(tmp_path / "state"), "--port", str(port))

    assert refused.returncode == 1
    assert f"Port {port} (gateway) is in use" in refused.stderr


def test_secrets_are_readable_by_their_owner_only(stack: testing.Stack) -> None:
    """Files with keys have mode 0600."""
    files = [stack.state_dir / name for name in ("state.json", "objects.json", "objects.log")]
    env_file = stack.state_dir.with_name("state.env")

    assert {oct(path.stat().st_mode & 0o777) for path in (*files, env_file)} == {"0o600"}


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux' /proc")
def test_every_program_listens_on_this_machine_only(stack: testing.Stack) -> None:
    """No socket of the stack listens on an address that others can reach."""
    addresses = set(process_table.listening([stack.pid, *process_table.descendants(stack.pid)]))

    assert addresses == {ports.HOST}


def answers(stack: testing.Stack) -> bool:
    """Whether the gateway answers."""
    request = urllib.request.Request(
        f"{stack.url}/auth/v1/health", headers={"apikey": stack.anon_key}
    )
    with urllib.request.urlopen(request) as answer:
        return bool(answer.status == 200)


def devstack(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m devstack` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "devstack", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def bucket_of(stack: testing.Stack) -> "S3Client":
    """A client of the object store."""
    return boto3.client(
        "s3",
        endpoint_url=stack.r2_endpoint,
        aws_access_key_id=stack.r2_access_key_id,
        aws_secret_access_key=stack.r2_secret_access_key,
        region_name="auto",
    )


def kept_ports(state_dir: Path) -> list[int]:
    """The ports that a state directory promises."""
    return list(json.loads((state_dir / "state.json").read_text())["ports"].values())


def until(found: Callable[[], list[int]], seconds: float) -> list[int]:
    """The first result of *found* that is not empty."""
    deadline = time.monotonic() + seconds
    while not (result := found()):
        assert time.monotonic() < deadline
        time.sleep(testing.LOOK_SECONDS)
    return result
