"""A worker without a key of database or bucket does whole jobs by the URLs of `job-urls`."""

import uuid
from typing import Any

import pytest
from fake_pipeline import MASK, OVERLAY, PICTURE
from listeners import Environment, Spawn, claimed
from machine_user import MakeMachine
from task_queue import Queue

from adapters import edge_functions, machine_auth, objects, signed_urls
from devstack.testing import Stack
from listener.settings import ListenerSettings
from listener.signed_objects import WRITES, SignedObjects
from s3_sam3.contracts import object_keys
from s3_sam3.contracts.tasks import TaskStatus


KEYLESS = dict.fromkeys(
    ("R2_ENDPOINT", "R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY", "R2_BUCKET"), ""
)


async def test_a_machine_user_alone_does_a_whole_job(
    queue: Queue, spawn: Spawn, environment: Environment, stack: Stack
) -> None:
    """A worker that knows URL, anon key and its own password ends a task; no key is with it."""
    env = environment(**KEYLESS)
    keys = (stack.service_key, stack.r2_access_key_id, stack.r2_secret_access_key)
    assert not set(keys) & set(env.values())
    listener = await spawn(**KEYLESS, SUPABASE_SERVICE_KEY="")
    task_id = await queue.submit()
    await queue.reaches(task_id, TaskStatus.DONE, seconds=30)

    row = await queue.row(task_id)
    assert await queue.store.get(row["mask_image_url"]) == MASK
    assert await queue.store.get(row["overlay_image_url"]) == OVERLAY
    assert row["manifest_url"].endswith("manifest.json")
    assert listener.said("objects_by_signed_urls")
    assert not listener.said("bucket_keys_in_use")


async def test_a_host_with_bucket_keys_says_so(queue: Queue, spawn: Spawn) -> None:
    """Negative control: with keys it reads and writes by them, and the log warns."""
    listener = await spawn()
    task_id = await queue.submit()
    await queue.reaches(task_id, TaskStatus.DONE, seconds=30)

    assert listener.said("bucket_keys_in_use")


async def test_tasks_of_a_picture_are_done_together_without_keys(
    queue: Queue, spawn: Spawn
) -> None:
    """Attempts that ride together each write by URLs of their own."""
    ids = [await queue.submit(f"dog {number}") for number in range(3)]
    await spawn(**KEYLESS)
    for task_id in ids:
        await queue.reaches(task_id, TaskStatus.DONE, seconds=30)

    keys = {(await queue.row(task_id))["manifest_url"] for task_id in ids}
    assert len(keys) == 3


async def test_a_refused_url_is_asked_for_anew(
    queue: Queue, new_machine: MakeMachine, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the store refuses a kept URL, one new one is asked for; an ended attempt gets none."""
    machine = await new_machine()
    task_id = await queue.submit()
    row = await machine.claim()
    claim = claimed(row["token"], picture=queue.picture_key, user=uuid.UUID(queue.user.id))
    async with (
        edge_functions.EdgeFunctions(url=stack.url, key=stack.anon_key) as functions,
        signed_urls.SignedUrls() as urls,
    ):
        store = SignedObjects(functions, machine_auth.ServiceKey(key=machine.token), urls)
        assert await store.read_source(claim) == PICTURE
        kept = store._kept[row["token"]]
        assert kept.signed is not None
        spoiled = kept.signed.source.model_copy(update={"url": kept.signed.source.url + "0"})
        kept.signed = kept.signed.model_copy(update={"source": spoiled})
        assert await store.read_source(claim) == PICTURE

        await queue.cancel(task_id)
        kept.signed = None
        with pytest.raises(objects.ObjectRefused):
            await store.read_source(claim)


async def test_an_attempt_asks_twice(
    queue: Queue, new_machine: MakeMachine, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once to read; once to write, for all announced files together, each of its size."""
    machine = await new_machine()
    await queue.submit()
    row = await machine.claim()
    claim = claimed(row["token"], picture=queue.picture_key, user=uuid.UUID(queue.user.id))
    files = {object_keys.MASK: b"1234", object_keys.OVERLAY: b"12", object_keys.MANIFEST: b"{}"}
    async with (
        edge_functions.EdgeFunctions(url=stack.url, key=stack.anon_key) as functions,
        signed_urls.SignedUrls() as urls,
    ):
        asked: list[Any] = []
        call = functions.call

        async def noted(name: str, body: dict[str, Any], token: str) -> dict[str, Any]:
            asked.append(body["writes"])
            return await call(name, body, token)

        monkeypatch.setattr(functions, "call", noted)
        store = SignedObjects(functions, machine_auth.ServiceKey(key=machine.token), urls)
        await store.read_source(claim)
        store.announce(claim, {name: len(data) for name, data in files.items()})
        for name, data in files.items():
            key = await store.write_result(claim, name, data, WRITES[name])
            assert await queue.store.get(key) == data

    assert [[each["bytes"] for each in writes] for writes in asked] == [[], [4, 2, 2]]


async def test_a_store_that_does_not_answer_is_unavailable(unused_tcp_port: int) -> None:
    """A network fault is the store's error, and says nothing of the URL."""
    url = f"http://127.0.0.1:{unused_tcp_port}/secret"
    async with signed_urls.SignedUrls() as urls:
        with pytest.raises(objects.ObjectStoreUnavailable) as caught:
            await urls.get(url, max_bytes=1)

    assert "secret" not in str(caught.value)


async def test_a_picture_over_the_limit_is_not_read(queue: Queue, new_machine: MakeMachine) -> None:
    """Reading stops at the limit, whatever the store sends."""
    machine = await new_machine()
    await queue.submit()
    _, answer = await machine.ask((await machine.claim())["token"])
    async with signed_urls.SignedUrls() as urls:
        with pytest.raises(objects.ObjectTooLarge):
            await urls.get(answer["data"]["source"]["url"], max_bytes=len(PICTURE) - 1)
        assert await urls.get(answer["data"]["source"]["url"], max_bytes=len(PICTURE)) == PICTURE


def test_half_the_bucket_keys_are_a_mistake(environment: Environment) -> None:
    """All four or none; the sentence names them."""
    values = {name.lower(): value for name, value in environment().items() if "BUCKET" not in name}

    with pytest.raises(ValueError, match="go together"):
        ListenerSettings.model_validate(values)
