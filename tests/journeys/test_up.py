"""`s3 up` restarts dead programs, names ports in use, and leaves nothing behind."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import process_table
from journeys.service import Service
from pictures import shapes

from s3_sam3 import S3Client


async def test_a_dead_pipeline_is_started_again(s3: S3Client, service: Service) -> None:
    """After a SIGKILL of the model's process the next task still ends, by a new process."""
    (pipeline,) = running(service, "pipeline")
    os.kill(pipeline, signal.SIGKILL)

    found = await s3.segment(shapes(), "red circle", timeout_seconds=60)

    assert found.manifest.instance_count == 1
    assert running(service, "pipeline") != [pipeline]


async def test_a_dead_listener_is_started_again(s3: S3Client, service: Service) -> None:
    """After a SIGKILL of the listener the next task still ends, and is charged once."""
    (listener,) = running(service, "listener")
    os.kill(listener, signal.SIGKILL)

    found = await s3.segment(shapes(), "red circle", timeout_seconds=60)

    assert found.manifest.instance_count == 1
    assert (await s3.me()).credits == 99


def test_the_model_is_told_no_secret_of_the_platform(service: Service) -> None:
    """The pipeline's environment has neither a bucket key nor a machine's password."""
    (pipeline,) = running(service, "pipeline")
    lines = Path(f"/proc/{pipeline}/environ").read_bytes().split(b"\0")
    env = dict(line.split(b"=", 1) for line in lines if b"=" in line)

    secrets = ("SUPABASE_SERVICE_KEY", "R2_SECRET_ACCESS_KEY", "S3_MACHINE_PASSWORD")
    assert [name for name in secrets if env.get(name.encode())] == []


def test_the_worker_is_told_no_key_of_database_or_bucket(service: Service) -> None:
    """As on a rented host: the listener's environment has a machine user, and no key's value."""
    known = service.platform_env
    forbidden = ("SUPABASE_SERVICE_KEY", "SUPABASE_JWT_SECRET", "SUPABASE_DB_URL")
    forbidden += ("R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY")
    for module in ("listener", "pipeline"):
        (program,) = running(service, module)
        environ = Path(f"/proc/{program}/environ").read_bytes()

        assert [name for name in forbidden if known[name].encode() in environ] == []


def test_the_api_is_told_no_service_key(service: Service) -> None:
    """The API's environment has no key that passes row-level security."""
    (api,) = running(service, "api")

    assert service.platform_env["SUPABASE_SERVICE_KEY"].encode() not in (
        Path(f"/proc/{api}/environ").read_bytes()
    )


def test_a_second_up_beside_the_first_says_why_it_cannot(service: Service, tmp_path: Path) -> None:
    """On a state directory in use it ends with one sentence, and the first goes on."""
    second = subprocess.run(
        [*(sys.executable, "-m", "s3_sam3.cli", "up"), "--state-dir", str(service.state)],
        env={**os.environ, "XDG_CONFIG_HOME": str(tmp_path), "SAM3_WEIGHTS_PATH": "fake:"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert second.returncode == 1
    assert "Traceback" not in second.stderr
    assert "already runs" in second.stderr
    assert service.process.poll() is None


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    """When the API's port is taken, the sentence names it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = subprocess.run(
            [
                *(
                    sys.executable,
                    "-m",
                    "s3_sam3.cli",
                    "up",
                    "--state-dir",
                    str(tmp_path / "state"),
                ),
                *("--platform-port", "0", "--api-port", str(port)),
            ],
            env={**os.environ, "XDG_CONFIG_HOME": str(tmp_path), "SAM3_WEIGHTS_PATH": "fake:"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert refused.returncode == 1
    assert str(port) in refused.stderr
    assert "Traceback" not in refused.stderr


def running(service: Service, module: str) -> list[int]:
    """Process ids of `python -m module` below `s3 up`."""
    return [
        pid
        for pid in process_table.descendants(service.process.pid)
        if f"\0-m\0{module}\0" in Path(f"/proc/{pid}/cmdline").read_text()
    ]
