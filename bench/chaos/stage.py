"""Everything a run needs, started in a temporary folder: devstack, network, fleet."""

import asyncio
import contextlib
import secrets
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

from adapters.objects import ObjectStore
from adapters.rest import Rest
from bench.chaos.fleet import KEY, Fleet, Slot
from bench.chaos.network import Network
from bench.chaos.observer import Observer
from bench.chaos.plan import Plan
from cli.local import free_port
from devstack import control, testing


MEMORY_MB: Final = (80 * 1024, 24 * 1024, 16 * 1024, 40 * 1024)
"""Of the GPUs, one after the other: the first can do what the others cannot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where a run takes place."""

    folder: Path
    stack: testing.Stack
    rest: Rest
    """PostgREST without the bad network: what users and auditors use."""
    store: ObjectStore
    observer: Observer
    network: Network
    fleet: Fleet

    def deadlocks(self) -> list[str]:
        """Lines of PostgreSQL's log, over all its restarts, that tell of a deadlock (40P01)."""
        return deadlocks_in((self.folder / "state" / "postgres.log").read_text(errors="replace"))

    async def operate(self, function: str, **params: Any) -> Any:
        """Call a function as the operator."""
        return await self.rest.rpc(function, params, self.stack.service_key)

    async def order(self, program: str, what: str) -> None:
        """Restart, kill, pause or resume `postgres` or `objects`."""
        await asyncio.to_thread(control.send, self.stack.url, self.stack.service_key, program, what)


def deadlocks_in(log: str) -> list[str]:
    """The lines of a log of PostgreSQL that tell of a deadlock."""
    return [line for line in log.splitlines() if "ERROR:  deadlock detected" in line]


@contextlib.asynccontextmanager
async def staged(plan: Plan) -> AsyncIterator[Stage]:
    """Start all but the fleet's processes; end everything."""
    with tempfile.TemporaryDirectory(prefix="s3-chaos-") as folder:
        process = testing.DevstackProcess(Path(folder) / "state", "--jwt-seconds", "7200")
        try:
            stack = await asyncio.to_thread(process.wait_ready)
            async with _opened(Path(folder), stack, plan) as stage:
                yield stage
        finally:
            await asyncio.to_thread(process.stop)


@contextlib.asynccontextmanager
async def _opened(folder: Path, stack: testing.Stack, plan: Plan) -> AsyncIterator[Stage]:
    network = Network(stack.url, lease_seconds=plan.lease_seconds)
    fleet = Fleet()
    async with (
        Rest(url=stack.url, key=stack.anon_key) as rest,
        ObjectStore(
            endpoint=stack.r2_endpoint,
            access_key_id=stack.r2_access_key_id,
            secret_access_key=stack.r2_secret_access_key,
            bucket=stack.r2_bucket,
        ) as store,
    ):
        await network.start()
        try:
            yield Stage(
                folder=folder,
                stack=stack,
                rest=rest,
                store=store,
                observer=Observer(stack.db_url),
                network=network,
                fleet=fleet,
            )
        finally:
            await fleet.stop()
            await network.stop()


async def man(stage: Stage, plan: Plan) -> None:
    """Start the fleet: each listener is a machine of its own."""
    gpus = [_gpu(stage.folder, number) for number in range(plan.gpus)]
    listeners = []
    for number in range(plan.listeners):
        email, password = await _machine(stage, number)
        gpu_port = gpus[number % plan.gpus][1]
        own = {
            "SUPABASE_URL": stage.network.url,
            "SUPABASE_ANON_KEY": stage.stack.anon_key,
            **{name: value for name, value in stage.stack.env.items() if name.startswith("R2_")},
            "API_SECRET_KEY": KEY,
            "S3_MACHINE_EMAIL": email,
            "S3_MACHINE_PASSWORD": password,
            "LISTENER_PIPELINE_URL": f"http://127.0.0.1:{gpu_port}",
            "LISTENER_POLL_SECONDS": "1",
            "LISTENER_DEADLINE_SECONDS": "60",
            "LISTENER_GRACE_SECONDS": "5",
            "LISTENER_CONCURRENCY": str(plan.concurrency),
            "S3_LOG_FORMAT": "json",
        }
        listeners.append(_listener(stage.folder, number, own, plan))
    stage.fleet.start(listeners, [slot for slot, _ in gpus])


def _listener(folder: Path, number: int, own: dict[str, str], plan: Plan) -> Slot:
    lease = (str(plan.lease_seconds), str(plan.renew_seconds))
    return Slot(
        name=f"listener-{number}",
        command=lambda holder: ["-m", "bench.chaos.listener_process", holder, *lease],
        environ=lambda _: own,
        log=folder / f"listener-{number}.log",
    )


def _gpu(folder: Path, number: int) -> tuple[Slot, int]:
    port = free_port()
    memory_mb = MEMORY_MB[number % len(MEMORY_MB)]
    slot = Slot(
        name=f"gpu-{number}",
        command=lambda _: ["-m", "bench.chaos.fake_gpu", str(port), KEY, str(memory_mb)],
        environ=lambda _: {},
        log=folder / f"gpu-{number}.log",
    )
    return slot, port


async def _machine(stage: Stage, number: int) -> tuple[str, str]:
    """Sign a machine user up and register it; its email and password."""
    email, password = f"gpu-{number}@machines.example", secrets.token_hex(16)
    key = stage.stack.service_key
    body = {
        "email": email,
        "password": password,
        "email_confirm": True,
        "app_metadata": {"kind": "gpu"},
    }
    async with (
        aiohttp.ClientSession(headers={"apikey": key, "Authorization": f"Bearer {key}"}) as http,
        http.post(f"{stage.stack.url}/auth/v1/admin/users", json=body) as answer,
    ):
        answer.raise_for_status()
        created = await answer.json()
    await stage.operate("register_machine", p_id=created["id"], p_name=email)
    return email, password
