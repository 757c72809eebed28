"""The state directory: its locks, keys, ports and paths."""

import contextlib
import dataclasses
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from devstack import errors, keys, ports, settings


#: A killed stack's programs need a moment to end (PostgreSQL's fast stop, SeaweedFS' grace).
LEFTOVER_SECONDS = 20.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What one stack keeps over restarts."""

    keys: keys.Keys
    ports: ports.Ports

    @property
    def url(self) -> str:
        return f"http://{ports.HOST}:{self.ports.gateway}"

    @property
    def database_url(self) -> str:
        password = self.keys.postgres_password
        return f"postgresql://postgres:{password}@{ports.HOST}:{self.ports.postgres}/postgres"

    def environment(self, bucket: str) -> dict[str, str]:
        """The variables by which our programs find this stack."""
        return {
            "SUPABASE_URL": self.url,
            "SUPABASE_ANON_KEY": self.keys.anon_key,
            "SUPABASE_SERVICE_KEY": self.keys.service_key,
            "SUPABASE_JWT_SECRET": self.keys.jwt_secret,
            "SUPABASE_DB_URL": self.database_url,
            "R2_ENDPOINT": f"http://{ports.HOST}:{self.ports.object_store}",
            "R2_ACCESS_KEY_ID": self.keys.r2_access_key_id,
            "R2_SECRET_ACCESS_KEY": self.keys.r2_secret_access_key,
            "R2_BUCKET": bucket,
        }


class StateDir:
    """
    The files of one state directory.

    Two locks: `up.lock` is held by the running `up` and by nobody else; `programs.lock` is held
    by `up` and by the guards of its programs, so it is free only when all of them are gone.
    """

    def __init__(self, root: Path) -> None:
        """Name the files below *root*; nothing is created yet."""
        self.root = root
        self.kept = root / "state.json"
        self.up_lock = root / "up.lock"
        self.programs_lock = root / "programs.lock"
        #: Where the running stack wrote its environment, one line.
        self.env_pointer = root / "env-file"
        self.postgres = root / "postgres"
        self.objects = root / "objects"
        #: Logs and cache of Edge Functions.
        self.functions = root / "functions"

    def load(self, port: int | None) -> State:
        """Keys and ports of the last start, or new ones; *port* as in Settings."""
        if not self.kept.exists():
            gateway = settings.DEFAULT_PORT if port is None else port
            state = State(keys=keys.generate(), ports=ports.choose(gateway))
        else:
            kept = json.loads(self.kept.read_text())
            state = State(keys=keys.Keys(**kept["keys"]), ports=ports.Ports(**kept["ports"]))
            if port:
                moved = dataclasses.replace(state.ports, gateway=port)
                state = dataclasses.replace(state, ports=moved)
        write_private(self.kept, json.dumps(dataclasses.asdict(state), indent=2) + "\n")
        return state

    @contextlib.contextmanager
    def held(self) -> Iterator[int]:
        """
        Hold the directory; yields the descriptor that guards inherit.

        Raises: AlreadyRunningError, NotReadyError.
        """
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(self.up_lock) as mine:
            if mine is None:
                raise errors.AlreadyRunningError(
                    f"A devstack already runs on {self.root} (process {self.holder()})."
                    " `python -m devstack env` prints its variables."
                )
            os.truncate(mine, 0)
            os.write(mine, str(os.getpid()).encode())
            with self._programs_gone() as lease:
                yield lease

    def holder(self) -> str | None:
        """Process id of the running `up`, or None when there is none."""
        if not self.up_lock.exists():
            return None
        with locked(self.up_lock) as mine:
            return self.up_lock.read_text() if mine is None else None

    def erase(self) -> None:
        """Delete everything. Raises: AlreadyRunningError, ForeignDirectoryError."""
        if not self.root.exists():
            return
        if not self.kept.exists() and any(self.root.iterdir()):
            raise errors.ForeignDirectoryError(
                f"{self.root} does not look like a devstack's state; nothing was deleted."
            )
        with self.held():
            shutil.rmtree(self.root)

    @contextlib.contextmanager
    def _programs_gone(self) -> Iterator[int]:
        deadline = time.monotonic() + LEFTOVER_SECONDS
        while True:
            with locked(self.programs_lock) as lease:
                if lease is not None:
                    yield lease
                    return
            if time.monotonic() > deadline:
                raise errors.NotReadyError(
                    f"Programs of a killed devstack still hold {self.root}; they did not end."
                )
            time.sleep(0.02)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[int | None]:
    """Hold the lock file *path*; yields its descriptor, or None when somebody else holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield descriptor
    finally:
        os.close(descriptor)


def write_private(path: Path, text: str) -> None:
    """Put *text* at *path*, whole or not at all, readable by its owner only."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    draft.replace(path)
