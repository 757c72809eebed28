"""A worker without a key of database or bucket: what `job-urls` gives it, and nothing more."""

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from fake_pipeline import MASK, OVERLAY, PICTURE
from listeners import Environment, Spawn, claimed
from task_queue import Queue

from adapters import edge_functions, machine_auth, objects, signed_urls
from contracts import limits, object_keys
from contracts.tasks import TaskStatus
from devstack.testing import Stack
from listener.settings import ListenerSettings
from listener.signed_objects import WRITES, SignedObjects


KEYLESS = dict.fromkeys(
    ("R2_ENDPOINT", "R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY", "R2_BUCKET"), ""
)

Answer = tuple[int, dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine user's hands."""

    id: str
    token: str
    queue: Queue
    http: aiohttp.ClientSession

    async def claim(self) -> dict[str, Any]:
        """Claim the one task there is."""
        (row,) = await self.queue.door.rpc(
            "claim_tasks",
            {
                "p_worker": "by hand",
                "p_limit": 1,
                "p_lease_seconds": 30,
                "p_deadline_seconds": 120,
                "p_capabilities": {"kinds": ["image"]},
            },
            self.token,
        )
        found: dict[str, Any] = row
        return found

    async def ask(self, attempt: int, *names: str, **write: Any) -> Answer:
        """Ask job-urls about an attempt, for writes of *names*, of one byte each."""
        fields = {"bytes": 1, **write}
        writes = [
            {"name": name, "content_type": WRITES.get(name, "text/plain"), **fields}
            for name in names
        ]
        async with self.http.post(
            "/functions/v1/job-urls",
            json={"token": attempt, "writes": writes},
            headers={"Authorization": f"Bearer {self.token}"},
        ) as answer:
            return answer.status, await answer.json()


MakeMachine = Callable[[], Awaitable[Machine]]


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


async def test_urls_are_for_exactly_the_attempt(queue: Queue, new_machine: MakeMachine) -> None:
    """The source and the three result files of the token's prefix, until the deadline at most."""
    machine = await new_machine()
    await queue.submit()
    claim = await machine.claim()
    status, answer = await machine.ask(claim["token"], *WRITES)

    prefix = object_keys.result_prefix(
        uuid.UUID(queue.user.id), uuid.UUID(claim["id"]), claim["token"]
    )
    data = answer["data"]
    assert status == 200
    assert data["source"]["key"] == queue.picture_key
    assert [each["key"] for each in data["writes"]] == [prefix + name for name in WRITES]
    assert 100 < data["seconds"] <= 120
    async with aiohttp.ClientSession() as store, store.get(data["source"]["url"]) as read:
        assert await read.read() == PICTURE


async def test_another_machine_gets_no_urls(queue: Queue, new_machine: MakeMachine) -> None:
    """A token can be guessed, so it is worth nothing to who did not claim it."""
    mine, other = await new_machine(), await new_machine()
    await queue.submit()
    token = (await mine.claim())["token"]

    assert (await mine.ask(token))[0] == 200
    assert (await other.ask(token))[0] == 404


async def test_a_user_gets_no_urls(queue: Queue, new_machine: MakeMachine) -> None:
    """Not even the task's owner: only machines are workers."""
    machine = await new_machine()
    await queue.submit()
    token = (await machine.claim())["token"]
    owner = Machine(id=queue.user.id, token=queue.user.access_token, queue=queue, http=machine.http)

    status, answer = await owner.ask(token)

    assert (status, answer["error"]["code"]) == (403, "forbidden")


async def test_a_disabled_machine_gets_no_urls(queue: Queue, new_machine: MakeMachine) -> None:
    """Shut out at once, in the middle of its attempt; nobody else is."""
    machine, other = await new_machine(), await new_machine()
    await queue.submit()
    token = (await machine.claim())["token"]
    assert (await machine.ask(token))[0] == 200

    await queue.operate("set_machine_enabled", p_id=machine.id, p_enabled=False)

    status, answer = await machine.ask(token)
    assert (status, answer["error"]["code"]) == (403, "forbidden")
    assert (await other.ask(token))[0] == 404


@pytest.fixture
async def any_source(queue: Queue) -> AsyncIterator[None]:
    """Rows may name any key: the constraint is taken out, and put back over an empty table."""
    name = "segmentation_results_source_is_own_upload"
    query = "select pg_get_constraintdef(oid) as law from pg_constraint where conname = %s"
    (row,) = await queue.rows(query, name)
    await queue.rows(f"alter table segmentation_results drop constraint {name}")
    yield
    await queue.rows("truncate auth.users cascade")
    await queue.rows(f"alter table segmentation_results add constraint {name} {row['law']}")


@pytest.mark.parametrize("of", ["another user", "a result", "a path"])
async def test_a_source_that_is_no_upload_of_its_user_is_not_signed(
    queue: Queue, new_machine: MakeMachine, any_source: None, of: str
) -> None:
    """Whatever key a row names, the machine is led to its user's uploads and nowhere else."""
    machine = await new_machine()
    task_id = await queue.submit()
    token = (await machine.claim())["token"]
    key = {
        "another user": object_keys.upload_key(uuid.uuid4(), "0" * 64, "png"),
        "a result": f"results/{queue.user.id}/{task_id}/1/mask.png",
        "a path": f"uploads/{queue.user.id}/../{uuid.uuid4()}/one.png",
    }[of]
    await queue.rows(
        "update segmentation_results set source_image_url = %s where id = %s", key, task_id
    )

    status, answer = await machine.ask(token)

    assert (status, answer["error"]["code"]) == (404, "source_not_found")
    # Control: the database alone would have let it through.
    objects_of = await queue.door.rpc("attempt_objects", {"p_token": token}, machine.token)
    assert objects_of["source"] == key


async def test_after_a_cancel_there_are_no_urls(queue: Queue, new_machine: MakeMachine) -> None:
    """An attempt that ended may touch nothing more."""
    machine = await new_machine()
    task_id = await queue.submit()
    token = (await machine.claim())["token"]
    assert (await machine.ask(token))[0] == 200

    await queue.cancel(task_id)

    status, answer = await machine.ask(token)
    assert (status, answer["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize("name", ["other.png", "../x/mask.png", "mask.png/../../y", "__proto__"])
async def test_other_files_are_not_signed(
    queue: Queue, new_machine: MakeMachine, name: str
) -> None:
    """Only the result files have names; a path in one leads nowhere."""
    machine = await new_machine()
    await queue.submit()
    token = (await machine.claim())["token"]

    status, answer = await machine.ask(token, name)

    assert (status, answer["error"]["code"]) == (403, "forbidden")


async def test_a_url_is_good_for_its_key_only(
    queue: Queue, new_machine: MakeMachine, stack: Stack
) -> None:
    """Pointed at another key, or used to write instead of to read, the store refuses it."""
    machine = await new_machine()
    await queue.submit()
    token = (await machine.claim())["token"]
    _, answer = await machine.ask(token, "mask.png")
    source, (mask,) = answer["data"]["source"], answer["data"]["writes"]
    elsewhere = mask["url"].replace("mask.png", "overlay.webp")
    another = await queue.another_picture()
    async with aiohttp.ClientSession() as store:
        async with store.put(elsewhere, data=b"x", headers=mask["headers"]) as refused:
            assert refused.status == 403
        async with store.put(source["url"], data=b"x") as refused:
            assert refused.status == 403
        async with store.get(source["url"].replace(source["key"], another)) as refused:
            assert refused.status == 403
        async with store.put(mask["url"], data=b"x", headers=mask["headers"]) as taken:
            assert taken.status == 200

    # Negative control: whoever holds the bucket's keys writes anywhere.
    await queue.store.put("results/anywhere/mask.png", b"x", "image/png")
    assert await queue.store.get("results/anywhere/mask.png") == b"x"


async def test_without_a_size_nothing_is_signed(queue: Queue, new_machine: MakeMachine) -> None:
    """A URL for a file of any size would fill the bucket; so would one of a huge size."""
    machine = await new_machine()
    await queue.submit()
    token = (await machine.claim())["token"]
    for size in (None, limits.MAX_UPLOAD_BYTES + 1):
        status, answer = await machine.ask(token, "mask.png", bytes=size)
        assert (status, answer["error"]["code"]) == (400, "invalid_request")
    assert (await machine.ask(token, "mask.png", bytes=limits.MAX_UPLOAD_BYTES))[0] == 200


async def test_a_url_takes_a_file_of_its_size(queue: Queue, new_machine: MakeMachine) -> None:
    """The machine says how large a file is, and the URL takes no other."""
    machine = await new_machine()
    await queue.submit()
    token = (await machine.claim())["token"]
    _, answer = await machine.ask(token, "mask.png", bytes=4)
    (mask,) = answer["data"]["writes"]
    kind = {"content-type": "image/png"}
    async with aiohttp.ClientSession() as store:
        async with store.put(mask["url"], data=b"12345", headers=kind) as refused:
            assert refused.status == 403
        async with store.put(mask["url"], data=b"1234", headers=kind) as taken:
            assert taken.status == 200


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
