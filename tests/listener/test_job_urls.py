"""What `job-urls` signs for a machine that holds a live attempt: that, and for nobody else."""

import uuid
from collections.abc import AsyncIterator

import aiohttp
import pytest
from fake_pipeline import PICTURE
from machine_user import Machine, MakeMachine
from task_queue import Queue

from devstack.testing import Stack
from listener.task_objects import RESULT_FILES
from s3_sam3.contracts import limits, object_keys


async def test_urls_are_for_exactly_the_attempt(queue: Queue, new_machine: MakeMachine) -> None:
    """The source and the three result files of the token's prefix, until the deadline at most."""
    machine = await new_machine()
    await queue.submit()
    claim = await machine.claim()
    status, answer = await machine.ask(claim["token"], *RESULT_FILES)

    prefix = object_keys.result_prefix(
        uuid.UUID(queue.user.id), uuid.UUID(claim["id"]), claim["token"]
    )
    data = answer["data"]
    assert status == 200
    assert data["source"]["key"] == queue.picture_key
    assert [each["key"] for each in data["writes"]] == [prefix + name for name in RESULT_FILES]
    assert 100 < data["seconds"] <= 120
    async with aiohttp.ClientSession() as store, store.get(data["source"]["url"]) as read:
        assert await read.read() == PICTURE


async def test_another_machine_gets_no_urls(queue: Queue, new_machine: MakeMachine) -> None:
    """A token can be guessed, so it is worth nothing to a machine that did not claim it."""
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
    """It is refused at once, in the middle of its attempt; other machines are not."""
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
    """Whatever key a row names, only an upload of its user is signed."""
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
    objects_of = await queue.rest.rpc("attempt_objects", {"p_token": token}, machine.token)
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

    # Negative control: with the bucket's keys one writes anywhere.
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
