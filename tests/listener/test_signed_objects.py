"""A worker without a key of database or bucket does whole jobs by the URLs of `job-urls`."""

import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fake_pipeline import MASK, OVERLAY, PICTURE
from listeners import Environment, Spawn, claimed
from machine_user import MakeMachine
from task_queue import Queue
from typing_extensions import override

from adapters import machine_auth, objects, rest, signed_urls
from devstack.testing import Stack
from listener.lease_store import Claim
from listener.settings import ListenerSettings
from listener.task_objects import SignedObjects
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


class WatchedFunctions(rest.Rest):
    """Notes the files that were asked for, and spoils the source's URL while told to."""

    def __init__(self, stack: Stack) -> None:
        super().__init__(url=stack.url, key=stack.anon_key)
        self.asked: list[list[int]] = []
        self.spoils = False

    @override
    async def call_function(self, name: str, body: dict[str, Any], token: str) -> dict[str, Any]:
        self.asked.append([each["bytes"] for each in body["writes"]])
        answer = await super().call_function(name, body, token)
        if self.spoils:
            answer["source"]["url"] += "0"
            self.spoils = False
        return answer


@pytest.fixture
async def functions(stack: Stack) -> AsyncIterator[WatchedFunctions]:
    """The devstack's Edge Functions."""
    async with WatchedFunctions(stack) as opened:
        yield opened


@pytest.fixture
async def attempt(
    queue: Queue, new_machine: MakeMachine, functions: WatchedFunctions
) -> AsyncIterator[tuple[SignedObjects, Claim]]:
    """A machine's objects, and its one claim."""
    machine = await new_machine()
    task_id = await queue.submit()
    row = await machine.claim()
    claim = claimed(row["token"], picture=queue.picture_key, user=uuid.UUID(queue.user.id))
    claim = claim.model_copy(update={"id": uuid.UUID(task_id)})
    async with signed_urls.SignedUrls() as urls:
        yield SignedObjects(functions, machine_auth.ServiceKey(key=machine.token), urls), claim


async def test_an_attempt_asks_twice(
    queue: Queue, attempt: tuple[SignedObjects, Claim], functions: WatchedFunctions
) -> None:
    """Once to read; once to write, for all files together, each of its size."""
    store, claim = attempt
    files = {object_keys.MASK: b"1234", object_keys.OVERLAY: b"12", object_keys.MANIFEST: b"{}"}
    assert await store.read_source(claim) == PICTURE
    keys = await store.write_results(claim, files)

    prefix = object_keys.result_prefix(claim.user_id, claim.id, claim.token)
    assert keys == {name: prefix + name for name in files}
    for name, data in files.items():
        assert await queue.store.get(keys[name]) == data
    assert functions.asked == [[], [4, 2, 2]]


async def test_a_refused_url_is_replaced_once(
    queue: Queue, attempt: tuple[SignedObjects, Claim], functions: WatchedFunctions
) -> None:
    """When the store refuses a URL, one new one is asked for; an ended attempt gets none."""
    store, claim = attempt
    functions.spoils = True
    assert await store.read_source(claim) == PICTURE
    assert functions.asked == [[], []]

    await queue.cancel(str(claim.id))
    with pytest.raises(objects.ObjectRefused):
        await store.read_source(claim)


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
