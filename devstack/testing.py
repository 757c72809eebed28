"""A devstack for tests: started as a person starts it, with typed access to its env file."""

import dataclasses
import signal
import subprocess
import sys
import time
from pathlib import Path

from devstack import errors


#: Between two looks at a condition.
LOOK_SECONDS = 0.02

#: A start takes 1 to 4 s; a machine under load may take long.
START_SECONDS = 90.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """A running devstack, by what its env file says."""

    url: str
    anon_key: str
    service_key: str
    jwt_secret: str
    db_url: str
    r2_endpoint: str
    r2_access_key_id: str
    r2_secret_access_key: str
    r2_bucket: str
    #: The env file itself, for programs that read their settings from the environment.
    env: dict[str, str]
    #: Process id of `python -m devstack up`.
    pid: int
    state_dir: Path


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SignedUpUser:
    id: str
    email: str
    password: str
    access_token: str
    refresh_token: str


class DevstackProcess:
    """`python -m devstack up` as a person would run it."""

    def __init__(self, state_dir: Path, *flags: str) -> None:
        """Start it on *state_dir*, with more *flags*."""
        self.state_dir = state_dir
        self.env_file = state_dir.with_name(state_dir.name + ".env")
        self.env_file.unlink(missing_ok=True)
        command = [sys.executable, "-m", "devstack", "up", "--quiet", "--lifeline", "--port", "0"]
        command += ["--state-dir", str(state_dir), "--env-file", str(self.env_file)]
        command += flags
        self.process = subprocess.Popen(
            command,
            # Its end tells the devstack that we are gone, however we went.
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_ready(self) -> Stack:
        """Wait until the env file appears, which is when everything answers."""
        deadline = time.monotonic() + START_SECONDS
        while not self.env_file.exists():
            if self.process.poll() is not None:
                raise errors.ProcessDiedError(f"The devstack did not start: {self.errors()}")
            if time.monotonic() > deadline:
                raise errors.NotReadyError("The devstack did not get ready.")
            time.sleep(LOOK_SECONDS)
        return self._read()

    def wait(self, seconds: float = 20.0) -> int:
        return self.process.wait(seconds)

    def errors(self) -> str:
        return self.process.communicate(timeout=5.0)[1]

    def cut_lifeline(self) -> None:
        """End its standard input, as our own death would."""
        if self.process.stdin is not None:
            self.process.stdin.close()
            self.process.stdin = None

    def stop(self) -> int:
        """Stop it as Ctrl-C does, and wait; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            return self.wait()
        finally:
            self.process.kill()
            self.process.communicate()

    def _read(self) -> Stack:
        lines = self.env_file.read_text().splitlines()
        env = dict(line.split("=", 1) for line in lines)
        return Stack(
            url=env["SUPABASE_URL"],
            anon_key=env["SUPABASE_ANON_KEY"],
            service_key=env["SUPABASE_SERVICE_KEY"],
            jwt_secret=env["SUPABASE_JWT_SECRET"],
            db_url=env["SUPABASE_DB_URL"],
            r2_endpoint=env["R2_ENDPOINT"],
            r2_access_key_id=env["R2_ACCESS_KEY_ID"],
            r2_secret_access_key=env["R2_SECRET_ACCESS_KEY"],
            r2_bucket=env["R2_BUCKET"],
            env=env,
            pid=self.process.pid,
            state_dir=self.state_dir,
        )
