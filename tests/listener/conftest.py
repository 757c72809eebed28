"""A queue with a user and a picture, a fake pipeline, a machine user, and listeners."""

import asyncio
import contextlib
import json
import os
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import pytest
from fake_pipeline import API_KEY, PICTURE, FakePipeline
from listeners import Environment, ListenerProcess, Listening, Spawn
from machine_user import Machine, MakeMachine
from task_queue import Queue

from adapters.objects import ObjectStore
from adapters.rest import Rest
from devstack.testing import SignedUpUser, Stack
from listener.settings import ListenerSettings
from listener.worker import Worker, built
from s3_sam3.contracts import object_keys


PROGRAM = str(Path(__file__).parents[1] / "listener_process.py")


@pytest.fixture
async def fake_pipeline() -> AsyncIterator[FakePipeline]:
    """A fake pipeline that is up and ready."""
    fake = FakePipeline()
    await fake.start()
    yield fake
    fake.gate.set()
    await fake.stop()


@pytest.fixture
async def queue(
    stack: Stack,
    db: psycopg.AsyncConnection[Any],
    new_user: Callable[..., Awaitable[SignedUpUser]],
) -> AsyncIterator[Queue]:
    """An empty queue and a user with one picture."""
    await _close_all(db)
    user = await new_user()
    async with (
        Rest(url=stack.url, key=stack.anon_key) as rest,
        ObjectStore(
            endpoint=stack.r2_endpoint,
            access_key_id=stack.r2_access_key_id,
            secret_access_key=stack.r2_secret_access_key,
            bucket=stack.r2_bucket,
        ) as store,
    ):
        picture_key = object_keys.upload_key(uuid.UUID(user.id), "0" * 64, "png")
        await store.put(picture_key, PICTURE, "image/png")
        yield Queue(
            rest=rest,
            store=store,
            db=db,
            user=user,
            service_key=stack.service_key,
            picture_key=picture_key,
        )
    await _close_all(db)


async def _close_all(db: psycopg.AsyncConnection[Any]) -> None:
    """Cancel every task that is not final, as its owner would."""
    await db.execute(
        "select segmentation.end_attempt(token, 'cancelled')"
        " from segmentation.attempts where ended_at is null"
    )
    await db.execute(
        "select segmentation.close_task(id, 'cancelled')"
        " from segmentation_results where finished_at is null"
    )


@pytest.fixture
async def machine(stack: Stack, queue: Queue) -> SignedUpUser:
    """A machine user, registered and enabled."""
    email, password = f"gpu-{uuid.uuid4().hex[:8]}@machines.example", uuid.uuid4().hex
    body = {
        "email": email,
        "password": password,
        "email_confirm": True,
        "app_metadata": {"kind": "gpu"},
    }
    headers = {"apikey": stack.service_key, "Authorization": f"Bearer {stack.service_key}"}
    async with (
        aiohttp.ClientSession(headers=headers) as http,
        http.post(f"{stack.url}/auth/v1/admin/users", json=body) as answer,
    ):
        created = await answer.json()
        assert answer.status == 200, created
    await queue.operate("register_machine", p_id=created["id"], p_name=email)
    return SignedUpUser(
        id=created["id"], email=email, password=password, access_token="", refresh_token=""
    )


@pytest.fixture
def environment(stack: Stack, machine: SignedUpUser, fake_pipeline: FakePipeline) -> Environment:
    """The environment of a listener that signs in as the machine."""

    def make(**overrides: Any) -> dict[str, str]:
        own = {
            "SUPABASE_URL": stack.url,
            "SUPABASE_ANON_KEY": stack.anon_key,
            **{name: value for name, value in stack.env.items() if name.startswith("R2_")},
            "API_SECRET_KEY": API_KEY,
            "S3_MACHINE_EMAIL": machine.email,
            "S3_MACHINE_PASSWORD": machine.password,
            "LISTENER_PIPELINE_URL": f"http://127.0.0.1:{fake_pipeline.port}",
            "LISTENER_POLL_SECONDS": 0.3,
            "LISTENER_GRACE_SECONDS": 10,
            "S3_LOG_FORMAT": "json",
            **overrides,
        }
        return {name: str(value) for name, value in own.items() if name.isupper()}

    return make


@pytest.fixture
def listening(environment: Environment) -> Listening:
    """Start listeners in this process."""

    @contextlib.asynccontextmanager
    async def run(**overrides: Any) -> AsyncIterator[Worker]:
        values = {name.lower(): value for name, value in environment(**overrides).items()}
        config = ListenerSettings.model_validate(values)
        async with built(config, **_parameters(overrides)) as worker:
            running = asyncio.create_task(worker.run())
            try:
                yield worker
            finally:
                worker.stop()
                worker.stop()
                await running

    return run


@pytest.fixture
async def spawn(environment: Environment) -> AsyncIterator[Spawn]:
    """Start listeners as processes of their own."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(**overrides: Any) -> ListenerProcess:
            changed = _parameters(overrides)
            program = (PROGRAM, json.dumps(changed)) if changed else ("-m", "listener")
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, *program),
                env={**os.environ, **environment(**overrides)},
                stderr=asyncio.subprocess.PIPE,
            )
            listener = ListenerProcess(process=process)
            reading = asyncio.create_task(listener.read())
            stack.push_async_callback(_end, process, reading)
            return listener

        yield start


def _parameters(overrides: dict[str, Any]) -> dict[str, Any]:
    """Those that are parameters of `built`, and no variables."""
    return {name: value for name, value in overrides.items() if not name.isupper()}


async def _end(process: asyncio.subprocess.Process, reading: asyncio.Task[None]) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()
    await reading


@pytest.fixture
async def new_machine(stack: Stack, queue: Queue) -> AsyncIterator[MakeMachine]:
    """A factory of registered machines, signed in."""
    async with aiohttp.ClientSession(stack.url) as http:

        async def make() -> Machine:
            email, password = f"gpu-{uuid.uuid4().hex}@machines.example", uuid.uuid4().hex
            headers = {"apikey": stack.service_key, "Authorization": f"Bearer {stack.service_key}"}
            body = {"email": email, "password": password, "app_metadata": {"kind": "gpu"}}
            body["email_confirm"] = True
            async with http.post("/auth/v1/admin/users", json=body, headers=headers) as answer:
                created = await answer.json()
            await queue.operate("register_machine", p_id=created["id"], p_name=email)
            async with http.post(
                "/auth/v1/token?grant_type=password",
                json={"email": email, "password": password},
                headers={"apikey": stack.anon_key},
            ) as answer:
                token = (await answer.json())["access_token"]
            return Machine(id=created["id"], token=token, queue=queue, http=http)

        yield make
