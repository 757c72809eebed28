"""A whole S3 on this machine, part by part, for `s3 up` and `s3 demo`."""

import asyncio
import json
import os
import secrets
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import httpx

from cli import accounts, janitor, worker
from cli.processes import Program, Programs
from s3_sam3 import ClientSettings, S3Error


PLATFORM_SECONDS = 60.0
"""For PostgreSQL, the object store and the gateway to answer."""

API_SECONDS = 30.0

DISPATCHER_STOP_SECONDS = 25.0
"""More than the dispatcher's own grace of 20 s."""

MODEL_SECONDS = 600.0
"""For weights to load; full-size ones from a slow disk take minutes."""

MACHINE = ("S3_MACHINE_EMAIL", "S3_MACHINE_PASSWORD")
"""The worker's account."""

MODELS = {
    "sam3": "SAM3",
    "tiny": "the tiny demo model",
    "fake": "the fake model: plain colours only",
}
"""Model names of manifests, in words."""


class ModelSetupFailed(S3Error):
    """The pipeline could not load a model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    state: Path
    platform_port: int
    api_port: int
    pipeline_port: int
    quiet: bool
    """True: the programs write log files instead of to the terminal."""

    def log(self, name: str) -> Path | None:
        return self.state / "logs" / f"{name}.log" if self.quiet else None


class Local:
    def __init__(self, place: Place, note: Callable[[str], None]) -> None:
        self.place = place
        self.env: dict[str, str] = {}
        self.programs = Programs(note)

    @property
    def service(self) -> ClientSettings:
        return ClientSettings(
            s3_api_url=f"http://127.0.0.1:{self.place.api_port}",
            supabase_url=self.env["SUPABASE_URL"],
            supabase_anon_key=self.env["SUPABASE_ANON_KEY"],
        )

    async def start_platform(self) -> None:
        """Start PostgreSQL, object store and gateway; read their addresses and keys."""
        # Under a name of its own at first: another `up` may be running on the same folder.
        env_file = self.place.state / f"platform.{os.getpid()}.env"
        self.programs.start(
            Program(
                name="devstack",
                module="devstack",
                arguments=(
                    "up",
                    "--quiet",
                    "--state-dir",
                    str(self.place.state / "platform"),
                    "--port",
                    str(self.place.platform_port),
                    "--env-file",
                    str(env_file),
                ),
                log=self.place.log("platform"),
                stop_seconds=20.0,
            )
        )
        await self.programs.ready(lambda: _exists(env_file), seconds=PLATFORM_SECONDS)
        env_file = env_file.replace(self.place.state / "platform.env")
        self.env = _read_env(env_file)
        self.env |= await self._machine()

    async def start_api(self) -> None:
        env = {**self.env, "API_PORT": str(self.place.api_port), "API_HOST": "127.0.0.1"}
        for secret in ("SUPABASE_SERVICE_KEY", "S3_MACHINE_PASSWORD"):
            env[secret] = ""
        self.programs.start(
            Program(name="api", module="api", env=env, log=self.place.log("api"), stop_seconds=30.0)
        )
        url = f"http://127.0.0.1:{self.place.api_port}/ready"
        await self.programs.ready(lambda: _answers(url), seconds=API_SECONDS)

    def start_worker(self, weights: Path | None, settings: Mapping[str, str] | None = None) -> None:
        """
        Start the pipeline and the listener, which claims as soon as the model is loaded.

        As on a rented host they get a machine user and no key of database or bucket; the Edge
        Function job-urls signs what they read and write. *settings* are more variables of theirs.
        """
        env = {
            **dict.fromkeys({*self.env, *worker.BUCKET_KEYS, "SUPABASE_SERVICE_KEY"}, ""),
            **{name: self.env[name] for name in (*worker.REQUIRED, *MACHINE)},
            "API_SECRET_KEY": secrets.token_hex(32),
            "PIPELINE_PORT": str(self.place.pipeline_port),
            **(settings or {}),
        }
        if weights is not None:
            env["SAM3_WEIGHTS_PATH"] = str(weights)
        for program in worker.programs(env):
            self.programs.start(replace(program, log=self.place.log(program.name)))

    def start_janitor(self) -> None:
        """Start the janitor; only it and the dispatcher get the service key."""
        program = janitor.program(self.env)
        self.programs.start(replace(program, log=self.place.log(program.name)))

    def start_dispatcher(self) -> None:
        """Start the sender of webhooks; here it may also call addresses of this machine."""
        env = {**self.env, "DISPATCHER_ALLOW_PRIVATE": "true"}
        for secret in ("R2_SECRET_ACCESS_KEY", "S3_MACHINE_PASSWORD"):
            env[secret] = ""
        self.programs.start(
            Program(
                name="dispatcher",
                module="webhooks.delivery",
                env=env,
                restart=True,
                stop_seconds=DISPATCHER_STOP_SECONDS,
                log=self.place.log("dispatcher"),
            )
        )

    async def model_ready(self) -> str:
        """Wait for the model and describe it. Raises ModelSetupFailed with the reason."""
        seen: dict[str, object] = {}

        async def loaded() -> bool:
            seen.update(await _health(self.place.pipeline_port))
            if seen.get("status") == "setup_failed":
                raise ModelSetupFailed(str(seen.get("reason")))
            return seen.get("status") in {"ready", "busy"}

        await self.programs.ready(loaded, seconds=MODEL_SECONDS)
        model = seen.get("model")
        if not isinstance(model, dict):
            return "model ready"
        name = str(model.get("name"))
        return f"{MODELS.get(name, name)}, {model.get('device')}, {model.get('dtype')}"

    async def stop(self) -> None:
        await self.programs.stop()

    async def _machine(self) -> dict[str, str]:
        """The variables of this machine's Auth user, which is made once."""
        kept = self.place.state / "machine.json"
        if not kept.exists():
            machine = accounts.new_machine(socket.gethostname())
            url, key = self.env["SUPABASE_URL"], self.env["SUPABASE_SERVICE_KEY"]
            await accounts.register_machine(url, key, machine)
            kept.touch(mode=0o600)
            kept.write_text(json.dumps(machine))
        found: dict[str, str] = json.loads(kept.read_text())
        return found


async def tiny_weights() -> Path | None:
    """
    The demo model's folder; None when other weights are set.

    If it is missing it is trained, once, in minutes; so its progress bar goes to the terminal.
    """
    if os.environ.get("SAM3_WEIGHTS_PATH") or os.environ.get("HF_TOKEN"):
        return None
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ai.train_tiny", "--print-path", stdout=asyncio.subprocess.PIPE
    )
    written, _ = await process.communicate()
    if process.returncode != 0:
        msg = f"Training the demo model ended with exit code {process.returncode}."
        raise S3Error(msg)
    return Path(written.decode().strip().splitlines()[-1])


def free_port() -> int:
    """A TCP port of 127.0.0.1 that is not in use now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _read_env(path: Path) -> dict[str, str]:
    lines = (line.split("=", 1) for line in path.read_text().splitlines() if "=" in line)
    return {name.strip(): value.strip().strip("'\"") for name, value in lines}


async def _exists(path: Path) -> bool:
    return await asyncio.to_thread(path.exists)


async def _answers(url: str) -> bool:
    try:
        async with httpx.AsyncClient(timeout=2.0) as http:
            return (await http.get(url)).is_success
    except httpx.TransportError:
        return False


async def _health(port: int) -> dict[str, object]:
    try:
        async with httpx.AsyncClient(timeout=2.0) as http:
            found: dict[str, object] = (await http.get(f"http://127.0.0.1:{port}/health")).json()
            return found
    except (httpx.TransportError, ValueError):
        return {}
