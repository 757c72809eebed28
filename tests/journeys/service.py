"""A running S3, started as a user starts it, and people who sign up to it."""

import os
import select
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from s3_sam3 import ClientSettings, Session
from s3_sam3.cli.config import SERVICE_FILE


START_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A running S3 and what a client must know of it."""

    settings: ClientSettings
    state: Path
    config: Path
    process: subprocess.Popen[bytes]

    @property
    def platform_env(self) -> dict[str, str]:
        """What the operator knows: keys of the platform below."""
        lines = (self.state / "platform.env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)

    def environment(self, config: Path | None = None) -> dict[str, str]:
        """The environment of a shell beside it; *config* is the folder of another user."""
        if config is not None:
            known = config / "s3-sam3" / SERVICE_FILE
            known.parent.mkdir(parents=True, exist_ok=True)
            known.write_text((self.config / "s3-sam3" / SERVICE_FILE).read_text())
        return {**os.environ, "XDG_CONFIG_HOME": str(config or self.config), "COLUMNS": "160"}


async def new_session(service: Service) -> Session:
    """Sign somebody new up."""
    return await Session.sign_up(
        supabase_url=service.settings.supabase_url,
        anon_key=service.settings.supabase_anon_key,
        email=f"u{os.urandom(6).hex()}@example.org",
        password="correct horse",
    )


def wait_for_file(path: Path, process: subprocess.Popen[bytes], log: Path) -> str:
    """Return the file's text as soon as it is there; fail with the log when the process ends."""
    end = time.monotonic() + START_SECONDS
    while not path.exists():
        if process.poll() is not None or time.monotonic() > end:
            pytest.fail(f"s3 up did not come up:\n{log.read_text()[-4000:]}")
        select.select([], [], [], 0.02)  # a file has no event to wait on
    return path.read_text()
