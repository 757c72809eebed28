"""What is deleted in the database is gone from the bucket, whatever fails in between."""

import signal
from collections.abc import Awaitable, Callable

import aiohttp
import pytest
from janitors import QUICK, Platform, Spawn, until
from tcp_proxy import TcpProxy
from typing_extensions import override

from adapters.objects import ObjectStoreUnavailable
from devstack.testing import SignedUpUser
from janitor import jobs
from janitor.database import Database, Deletion
from janitor.health import State


DeleteUser = Callable[[Platform, SignedUpUser], Awaitable[None]]


async def by_auth(platform: Platform, user: SignedUpUser) -> None:
    """Delete a user as an operator does, by Auth's admin API."""
    key = platform.stack.service_key
    headers = {"apikey": key, "Authorization": f"Bearer {key}"}
    url = f"{platform.stack.url}/auth/v1/admin/users/{user.id}"
    async with aiohttp.ClientSession() as http, http.delete(url, headers=headers) as answer:
        assert answer.status == 200, await answer.text()


async def by_sql(platform: Platform, user: SignedUpUser) -> None:
    """Delete a user at psql."""
    await platform.rows("delete from auth.users where id = %s", user.id)


async def test_deleting_a_result_by_the_api_leaves_none_of_its_objects(
    platform: Platform, user: SignedUpUser, stranger: SignedUpUser, api_url: str, spawn: Spawn
) -> None:
    """DELETE /results/{id} and a janitor: its objects are gone, every other object is there."""
    task_id, kept_id = await platform.done_task(user), await platform.done_task(user)
    await platform.done_task(stranger)
    others = await platform.keys()
    gone = {key for key in others if task_id in key}

    headers = {"Authorization": f"Bearer {user.access_token}"}
    async with (
        aiohttp.ClientSession(headers=headers) as http,
        http.delete(f"{api_url}/api/v1/results/{task_id}") as answer,
    ):
        assert answer.status == 200, await answer.text()
    await spawn(QUICK)
    await until(platform.outbox_is_empty)

    assert len(gone) == 3
    assert await platform.keys() == others - gone
    assert [key for key in others - gone if kept_id in key]


@pytest.mark.parametrize("delete_user", [by_auth, by_sql])
async def test_deleting_a_user_leaves_nothing_of_theirs(
    platform: Platform,
    user: SignedUpUser,
    stranger: SignedUpUser,
    spawn: Spawn,
    delete_user: DeleteUser,
) -> None:
    """Rows and objects are gone, results and uploads; another user's are there."""
    await platform.done_task(user)
    await platform.pending_task(user)
    await platform.claim()
    await platform.done_task(stranger)
    theirs = await platform.keys(stranger)

    await delete_user(platform, user)
    await spawn(QUICK)
    await until(platform.outbox_is_empty)

    assert await platform.keys() == theirs
    assert len(theirs) == 4
    for table in ("users_profile where id", "segmentation_results where user_id"):
        assert await platform.rows(f"select 1 from {table} = %s", user.id) == []
        assert await platform.rows(f"select 1 from {table} = %s", stranger.id) != []


POINTS = {
    "before anything is deleted": ("store", b"GET /", 0),
    "at the first object": ("store", b"DELETE /", 0),
    "in the middle": ("store", b"DELETE /", 2),
    "before the line is finished": ("database", b"finish_object_deletion", 0),
    "between two lines": ("database", b"finish_object_deletion", 1),
}


@pytest.mark.parametrize("point", POINTS)
async def test_a_kill_at_any_point_is_made_up_for(
    platform: Platform,
    user: SignedUpUser,
    stranger: SignedUpUser,
    spawn: Spawn,
    store_proxy: TcpProxy,
    database_proxy: TcpProxy,
    point: str,
) -> None:
    """After kill -9 during a user's deletion the next janitor finishes it, and no more."""
    await platform.done_task(user)
    await platform.done_task(stranger)
    theirs = await platform.keys(stranger)
    where, word, passes = POINTS[point]
    proxy = {"store": store_proxy, "database": database_proxy}[where]
    proxy.hold_at(word, passes=passes)
    await by_sql(platform, user)

    killed = await spawn(QUICK, SUPABASE_URL=database_proxy.url, R2_ENDPOINT=store_proxy.url)
    await proxy.held.wait()
    killed.process.send_signal(signal.SIGKILL)
    await killed.process.wait()
    left = await platform.open_lines()
    await spawn(QUICK)
    await until(platform.outbox_is_empty)

    assert left > 0
    assert await platform.keys() == theirs


async def test_a_stopped_store_is_waited_for(
    platform: Platform, user: SignedUpUser, spawn: Spawn, store_proxy: TcpProxy
) -> None:
    """While the store is away nothing is lost and the process lives; then the objects go."""
    await platform.done_task(user)
    await store_proxy.cut()
    janitor = await spawn(QUICK, R2_ENDPOINT=store_proxy.url)
    await until(lambda: janitor.said("janitor_started"))

    await by_sql(platform, user)
    await until(lambda: janitor.said("job_postponed"))
    before = await platform.keys(user)
    await store_proxy.mend()
    await until(platform.outbox_is_empty)

    assert len(before) == 4
    assert await platform.keys(user) == set()
    assert janitor.process.returncode is None


class Lying(Database):
    """A database that wants the wrong things deleted, and then the right one."""

    def __init__(self, *lines: Deletion) -> None:
        self.lines = list(lines)
        self.finished: list[int] = []

    @override
    async def take_deletions(self, limit: int) -> list[Deletion]:
        return self.lines

    @override
    async def finish_deletion(self, deletion_id: int) -> None:
        self.finished.append(deletion_id)


@pytest.mark.parametrize(
    "prefix",
    [
        "",
        "/",
        "uploads/",
        "results/",
        "weights/",
        "uploads/../",
        "results/{user}",
        "uploads/{user}/{user}/",
        "uploads/{user}/\n",
        "results/{user}/../",
        "results/{user}/{user}/1/",
        "/results/{user}/",
    ],
)
async def test_a_wrong_prefix_is_refused(
    platform: Platform, user: SignedUpUser, stranger: SignedUpUser, state: State, prefix: str
) -> None:
    """A prefix that is no user's or task's folder deletes nothing; the right one beside it goes."""
    await platform.done_task(user)
    await platform.done_task(stranger)
    before = await platform.keys(user)
    database = Lying(
        Deletion(id=1, prefix=prefix.format(user=user.id)),
        Deletion(id=2, prefix=f"results/{stranger.id}/"),
    )

    await jobs.delete_objects(database, platform.bucket, state)

    assert await platform.keys(user) == before
    assert database.finished == [2]
    assert (state.refused_prefixes, state.deleted_objects) == (1, 3)


async def test_without_the_lease_a_kill_would_lose_objects(
    platform: Platform, user: SignedUpUser
) -> None:
    """Negative control: a line finished before its objects are deleted does not bring them back."""
    await platform.done_task(user)
    await by_sql(platform, user)
    for line in await platform.database.take_deletions(100):
        await platform.database.finish_deletion(line.id)

    await jobs.delete_objects(platform.database, platform.bucket, State())

    assert len(await platform.keys(user)) == 4


async def test_a_line_is_finished_once_its_objects_are_gone(
    platform: Platform, user: SignedUpUser, store_proxy: TcpProxy, state: State
) -> None:
    """A store that refuses an object leaves the line open; finishing twice is harmless."""
    await platform.done_task(user)
    await by_sql(platform, user)
    await store_proxy.cut()
    from_afar = type(platform.bucket)(
        endpoint=store_proxy.url,
        access_key_id=platform.stack.r2_access_key_id,
        secret_access_key=platform.stack.r2_secret_access_key,
        bucket=platform.stack.r2_bucket,
    )
    lines = await platform.open_lines()
    async with from_afar:
        with pytest.raises(ObjectStoreUnavailable):
            await jobs.delete_objects(platform.database, from_afar, state)

    assert await platform.open_lines() == lines > 0


async def test_what_a_zombie_writes_after_the_deletion_goes_an_hour_later(
    platform: Platform, user: SignedUpUser, spawn: Spawn
) -> None:
    """A worker that wrote into a deleted task's folder leaves nothing: the line has a twin."""
    task_id = await platform.pending_task(user)
    claim = await platform.claim()
    await platform.delete_result(user, task_id)
    await spawn(QUICK)
    await until(platform.outbox_is_empty)
    await platform.deposit(claim)

    await platform.rows(
        "update segmentation.object_deletions set due_at = now() where done_at is null"
    )
    await until(platform.outbox_is_empty)

    assert [key for key in await platform.keys() if key.startswith("results/")] == []
