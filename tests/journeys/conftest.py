"""A whole S3 as `s3 up` starts it, with the fake model: once per test process."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import pytest
from journeys.service import Service, new_session, wait_for_file

from cli.local import free_port
from s3_sam3 import ClientSettings, S3Client


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """`s3 up` in a folder of its own, on free ports."""
    folder = tmp_path_factory.mktemp("service")
    ports = {name: str(free_port()) for name in ("platform", "api", "pipeline")}
    log = (folder / "up.log").open("wb")
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "s3_sam3.cli", "up", "--state-dir", str(folder / "state")),
            *(part for name, port in ports.items() for part in (f"--{name}-port", port)),
        ],
        env={
            **os.environ,
            "SAM3_WEIGHTS_PATH": "fake:",
            "XDG_CONFIG_HOME": str(folder / "config"),
            "LISTENER_POLL_SECONDS": "2",
        },
        stdout=log,
        stderr=log,
    )
    try:
        known = wait_for_file(
            folder / "config" / "s3-sam3" / "service.json", process, folder / "up.log"
        )
        yield Service(
            settings=ClientSettings(**json.loads(known)),
            state=folder / "state",
            config=folder / "config",
            process=process,
        )
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture
async def s3(service: Service) -> AsyncIterator[S3Client]:
    """A client of a user who signed up just now."""
    session = await new_session(service)
    async with S3Client(session, api_url=service.settings.s3_api_url) as client:
        yield client
