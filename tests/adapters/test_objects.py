"""The object store, on a real S3 server that checks signatures."""

import asyncio
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import aiohttp
import pytest
from typing_extensions import override

from adapters.objects import (
    ObjectNotFound,
    ObjectRefused,
    ObjectStore,
    ObjectStoreUnavailable,
    ObjectTooLarge,
)
from devstack import testing


def opened(stack: testing.Stack, **changed: str) -> ObjectStore:
    """A store on the devstack's bucket."""
    settings = {
        "endpoint": stack.r2_endpoint,
        "access_key_id": stack.r2_access_key_id,
        "secret_access_key": stack.r2_secret_access_key,
        "bucket": stack.r2_bucket,
        **changed,
    }
    return ObjectStore(**settings)


@pytest.fixture
async def store(stack: testing.Stack) -> AsyncIterator[ObjectStore]:
    """The devstack's bucket."""
    async with opened(stack) as it:
        yield it


@pytest.fixture
def folder() -> str:
    """A folder of this test alone, with its slash."""
    return f"test/{uuid4().hex}/"


async def test_what_is_put_is_got(store: ObjectStore, folder: str) -> None:
    """Bytes, size and type come back as they went in."""
    await store.put(folder + "a", b"hello", "image/png")

    assert await store.get(folder + "a") == b"hello"
    head = await store.head(folder + "a")
    assert (head.size, head.content_type) == (5, "image/png")


async def test_a_file_can_be_put(store: ObjectStore, folder: str) -> None:
    """An open file is sent from where it stands."""
    await store.put(folder + "a", io.BytesIO(b"from a file"), "text/plain")

    assert await store.get(folder + "a") == b"from a file"


async def test_what_is_not_there_is_not_found(store: ObjectStore, folder: str) -> None:
    """Reading and asking agree; deleting nothing is no error."""
    with pytest.raises(ObjectNotFound):
        await store.get(folder + "a")
    with pytest.raises(ObjectNotFound):
        await store.head(folder + "a")
    await store.delete(folder + "a")


async def test_a_reader_may_set_a_limit(store: ObjectStore, folder: str) -> None:
    """An object over the limit is refused, one at the limit is read."""
    await store.put(folder + "a", b"12345", "text/plain")

    assert await store.get(folder + "a", max_bytes=5) == b"12345"
    with pytest.raises(ObjectTooLarge):
        await store.get(folder + "a", max_bytes=4)


async def test_a_folder_goes_and_its_neighbour_stays(store: ObjectStore, folder: str) -> None:
    """Deleting `a/` takes what is under it, at any depth, and not `ab/`."""
    for name in ("a/1", "a/2/3", "ab/1"):
        await store.put(folder + name, b"", "text/plain")

    assert await store.delete_prefix(folder + "a/") == 2

    assert await store.get(folder + "ab/1") == b""
    with pytest.raises(ObjectNotFound):
        await store.head(folder + "a/2/3")


@pytest.mark.parametrize("prefix", ["", "/", "results", "results/x"])
async def test_only_folders_are_deleted(store: ObjectStore, prefix: str) -> None:
    """A prefix that could take more than a folder along, or everything, is refused."""
    with pytest.raises(ValueError, match="folder"):
        await store.delete_prefix(prefix)


async def test_a_signed_url_reads_one_object_for_its_time(store: ObjectStore, folder: str) -> None:
    """It works as it is, and not for another key or with a changed signature."""
    await store.put(folder + "a", b"secret", "image/png")
    await store.put(folder + "b", b"other", "image/png")
    url = store.sign_get(folder + "a", 60, download_name="mask.png")

    async with aiohttp.ClientSession() as http:
        async with http.get(url) as answer:
            assert await answer.read() == b"secret"
            assert "mask.png" in answer.headers["Content-Disposition"]
        for forged in (url.replace(folder + "a", folder + "b"), url[:-1] + "x", url.split("?")[0]):
            async with http.get(forged) as answer:
                assert answer.status == 403


async def test_a_wrong_key_is_refused_not_unavailable(stack: testing.Stack) -> None:
    """Wrong credentials and a missing bucket are not worth a new try."""
    for changed in ({"secret_access_key": "wrong"}, {"bucket": "no-such-bucket"}):
        async with opened(stack, **changed) as store:
            with pytest.raises(ObjectRefused):
                await store.put("x", b"", "text/plain")


async def test_a_store_that_is_gone_is_unavailable(stack: testing.Stack) -> None:
    """No answer is ObjectStoreUnavailable."""
    async with opened(stack, endpoint="http://127.0.0.1:9") as store:
        with pytest.raises(ObjectStoreUnavailable):
            await store.head("x")


async def test_a_listing_names_what_lies_under_a_folder(store: ObjectStore, folder: str) -> None:
    """By key, with size and age, at any depth, and nothing of a neighbour."""
    for name in ("a/2", "a/1/x", "ab/1"):
        await store.put(folder + name, b"12345", "text/plain")

    (page,) = [page async for page in store.pages(folder + "a/")]

    assert [(item.key, item.size) for item in page] == [(folder + "a/1/x", 5), (folder + "a/2", 5)]
    age = datetime.now(UTC) - page[0].modified_at
    assert timedelta(0) <= age < timedelta(minutes=1)


class Interrupted(ObjectStore):
    """A store whose deletions stop after the first eight."""

    def __init__(self, stack: testing.Stack) -> None:
        super().__init__(
            endpoint=stack.r2_endpoint,
            access_key_id=stack.r2_access_key_id,
            secret_access_key=stack.r2_secret_access_key,
            bucket=stack.r2_bucket,
        )
        self.left = 8
        self.reached = asyncio.Event()

    @override
    async def delete(self, key: str) -> None:
        self.left -= 1
        if self.left < 0:
            self.reached.set()
            await asyncio.Event().wait()
        await super().delete(key)


async def test_deleting_a_folder_can_be_stopped(
    stack: testing.Stack, store: ObjectStore, folder: str
) -> None:
    """A cancelled deletion ends between two objects, and a second one finishes it."""
    for number in range(20):
        await store.put(f"{folder}{number:02}", b"", "text/plain")
    async with Interrupted(stack) as interrupted:
        deleting = asyncio.create_task(interrupted.delete_prefix(folder))
        await interrupted.reached.wait()
        deleting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await deleting

    assert await store.delete_prefix(folder) == 12
    assert [page async for page in store.pages(folder)] == []
