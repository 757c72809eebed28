"""Which Edge Functions there are, and how the Deno process of one starts."""

import asyncio
import dataclasses
import os
import re
import shutil
import signal
import sysconfig
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from devstack import errors, ports, processes


#: As the official CLI names functions; so `_shared` and paths are none.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")

ENTRY = "index.ts"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """One function, as it is served."""

    name: str
    entry: Path
    #: Whether a caller must show a token of this stack before the function is asked.
    verify_jwt: bool


def find(folder: Path, name: str) -> Function | None:
    """The function *name* of *folder*; None when there is none, or it is not enabled."""
    if not NAME.fullmatch(name):
        return None
    settings = _settings(folder.parent / "config.toml", name)
    # Relative to config.toml, as the official CLI reads it.
    named = settings.get("entrypoint")
    entry = folder.parent / named if named else folder / name / ENTRY
    if not (settings.get("enabled", True) and entry.is_file()):
        return None
    return Function(name=name, entry=entry, verify_jwt=bool(settings.get("verify_jwt", True)))


def _settings(path: Path, name: str) -> dict[str, Any]:
    # Read for each request: a person edits it while the stack runs, and it is small.
    if not path.is_file():
        return {}
    functions = tomllib.loads(path.read_text()).get("functions", {})
    found: dict[str, Any] = functions.get(name, {})
    return found


#: It ends at once.
STOP = ((int(signal.SIGTERM), 1.0),)


class DenoMissingError(errors.StackError):
    """No `deno` program found: `pip install deno`."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A function that takes requests."""

    process: processes.Process
    url: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """What the processes of all functions share."""

    folder: Path
    #: Logs and Deno's cache.
    state: Path
    #: What a hosted function finds in its environment, and the secrets of a person's env file.
    environ: Mapping[str, str]
    lease: int

    async def start(self, function: Function) -> Running:
        """
        Start *function* and wait until it takes connections.

        Raises: DenoMissingError, errors.ProcessDiedError, errors.NotReadyError.
        """
        self.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        port = ports.free()
        program = processes.Program(
            name=f"function {function.name}",
            command=self._command(function),
            environ=self._environ(port),
            directory=self.folder,
            log=self.state / f"{function.name}.log",
            stop=STOP,
        )
        process = await processes.Process.start(program, self.lease)
        try:
            await process.until(lambda: _listens(port))
        except BaseException:
            await process.stop()
            raise
        return Running(process=process, url=f"http://{ports.HOST}:{port}")

    def _command(self, function: Function) -> tuple[str, ...]:
        """As much as a hosted function may do: the network, its environment, its own files."""
        allowed = ("--allow-net", "--allow-env", f"--allow-read={self.folder}")
        return (binary(), "run", "--no-prompt", "--quiet", *allowed, str(function.entry))

    def _environ(self, port: int) -> dict[str, str]:
        # Not our whole environment: a function would come to rely on what no host gives it.
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.state),
            "DENO_DIR": str(self.state / "deno"),
            "DENO_NO_UPDATE_CHECK": "1",
            "DENO_SERVE_ADDRESS": f"tcp:{ports.HOST}:{port}",
            "NO_COLOR": "1",
            **self.environ,
        }


def environment(stack: Mapping[str, str], env_file: Path) -> dict[str, str]:
    """What functions find: the *stack*'s variables by their hosted names, then *env_file*'s."""
    named = {name: value for name, value in stack.items() if name.startswith("R2_")}
    named |= {name: stack[name] for name in ("SUPABASE_URL", "SUPABASE_ANON_KEY")}
    named["SUPABASE_SERVICE_ROLE_KEY"] = stack["SUPABASE_SERVICE_KEY"]
    named["SUPABASE_DB_URL"] = stack["SUPABASE_DB_URL"]
    return named | _read(env_file)


def _read(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    lines = (line.partition("=") for line in path.read_text().splitlines())
    pairs = ((name.strip(), value.strip()) for name, equals, value in lines if equals)
    return {name: value.strip("\"'") for name, value in pairs if not name.startswith("#")}


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(ports.HOST, port)
    except OSError:
        return False
    writer.close()
    return True


def binary() -> str:
    """The `deno` program. Raises: DenoMissingError."""
    beside = Path(sysconfig.get_path("scripts")) / "deno"
    found = str(beside) if beside.exists() else shutil.which("deno")
    if found is None:
        raise DenoMissingError(DenoMissingError.__doc__)
    return found
