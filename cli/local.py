"""A whole S3 on this machine: platform, API and worker, as `s3 up` and `s3 demo` start it."""

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
import supabase_auth
from supabase_auth import errors as auth_errors

from cli import janitor, worker
from cli.processes import Program, Programs
from s3_sam3 import ClientSettings, S3Error


PLATFORM_SECONDS = 60.0
"""For PostgreSQL, the object store and the gateway to answer."""

API_SECONDS = 30.0
DISPATCHER_STOP_SECONDS = 25.0
"""Over the dispatcher's own grace of 20 s."""

MODEL_SECONDS = 600.0
"""For weights to load; full-size ones from a slow disk take minutes."""


MACHINE = ("S3_MACHINE_EMAIL", "S3_MACHINE_PASSWORD")
"""As whom the worker signs in."""

MODELS = {
    "sam3": "SAM3",
    "tiny": "the tiny demo model",
    "fake": "the fake model: plain colours only",
}
"""Names in a manifest, for people."""


class ModelSetupFailed(S3Error):
    """The pipeline could not load a model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one local S3 keeps its things and listens."""

    state: Path
    platform_port: int
    api_port: int
    pipeline_port: int
    quiet: bool
    """True: the programs write log files instead of to the terminal."""

    def log(self, name: str) -> Path | None:
        """A program's log file, when it has one."""
        return self.state / "logs" / f"{name}.log" if self.quiet else None


class Local:
    """Starts the parts one by one; `stop` ends them in reverse order."""

    def __init__(self, place: Place, note: Callable[[str], None]) -> None:
        self.place = place
        self.env: dict[str, str] = {}
        self.programs = Programs(note)

    @property
    def service(self) -> ClientSettings:
        """What a client must know."""
        return ClientSettings(
            s3_api_url=f"http://127.0.0.1:{self.place.api_port}",
            supabase_url=self.env["SUPABASE_URL"],
            supabase_anon_key=self.env["SUPABASE_ANON_KEY"],
        )

    async def start_platform(self) -> None:
        """PostgreSQL, object store and gateway; learns their addresses and keys."""
        # Of its own name until it is ours: another `up` may be running on the same folder.
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
        """The public API."""
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
        The pipeline and the listener; the listener claims as soon as the model is loaded.

        As on a rented host: a machine user, and no key of database or bucket, whatever the shell
        has. The Edge Function job-urls signs what the worker reads and writes. *settings* are more
        variables of its own.
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
        """The housekeeper; it and the dispatcher are the only ones here told the service key."""
        program = janitor.program(self.env)
        self.programs.start(replace(program, log=self.place.log(program.name)))

    def start_dispatcher(self) -> None:
        """The sender of webhooks; here it may also call this machine's own addresses."""
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
        """Wait for the model; a sentence about it. Raises ModelSetupFailed with the reason."""
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
        """Everything, the last one started first."""
        await self.programs.stop()

    async def _machine(self) -> dict[str, str]:
        """Make this machine's Auth user once; the worker signs in as it, with no service key."""
        kept = self.place.state / "machine.json"
        if not kept.exists():
            machine = {
                "S3_MACHINE_EMAIL": f"{socket.gethostname()}@machines.invalid".lower(),
                "S3_MACHINE_PASSWORD": secrets.token_urlsafe(24),
            }
            await register_machine(
                self.env["SUPABASE_URL"],
                self.env["SUPABASE_SERVICE_KEY"],
                email=machine["S3_MACHINE_EMAIL"],
                password=machine["S3_MACHINE_PASSWORD"],
            )
            kept.touch(mode=0o600)
            kept.write_text(json.dumps(machine))
        found: dict[str, str] = json.loads(kept.read_text())
        return found


async def register_machine(url: str, service_key: str, *, email: str, password: str) -> None:
    """Make an Auth user of kind `gpu` and enable it; needs the service key, run by an operator."""
    headers = {"apikey": service_key, "Authorization": f"Bearer {service_key}"}
    admin = supabase_auth.AsyncGoTrueClient(url=f"{url}/auth/v1", headers=headers).admin
    try:
        made = await admin.create_user(
            {
                "email": email,
                "password": password,
                "email_confirm": True,
                "app_metadata": {"kind": "gpu"},
            }
        )
    except auth_errors.AuthError as error:
        raise S3Error(f"No machine user could be made: {error.message}") from error
    async with httpx.AsyncClient(headers=headers) as http:
        answer = await http.post(
            f"{url}/rest/v1/rpc/register_machine",
            json={"p_id": made.user.id, "p_name": email.split("@", maxsplit=1)[0]},
        )
    if answer.is_error:
        raise S3Error(f"The machine could not be registered: {answer.text}")


async def tiny_weights() -> Path | None:
    """
    The demo model's folder, trained once if it is not there; None when other weights are set.

    The training writes to the terminal itself: it takes minutes, so its progress bar must show.
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
    """A TCP port on 127.0.0.1 that nobody listens on now."""
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
