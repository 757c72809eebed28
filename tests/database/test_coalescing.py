"""Tasks on one picture of one user ride together: one vision pass serves them all."""

from typing import Any

import pytest


pytestmark = pytest.mark.usefixtures("all_is_paid")


async def on(owner: Any, picture: str, **arguments: Any) -> Any:
    """Submit a task on a picture of that name; its row."""
    return await owner.submit(p_source_image_url=owner.upload(picture), **arguments)


async def test_tasks_on_one_picture_are_claimed_together(owner: Any, machine: Any) -> None:
    """A limit of one is one picture; its tasks share the lead's token, and each has its own."""
    first, _, third = [await on(owner, name) for name in ("a", "b", "a")]
    claims = await machine.claim(1)
    assert [str(claim["id"]) for claim in claims] == [first["id"], third["id"]]
    assert {claim["lead_token"] for claim in claims} == {claims[0]["token"]}
    assert claims[0]["token"] != claims[1]["token"]


async def test_other_pictures_ride_alone(owner: Any, machine: Any) -> None:
    """Two pictures are two leads, however many tasks each has."""
    for name in ("a", "b", "a", "b"):
        await on(owner, name)
    claims = await machine.claim(2)
    assert len(claims) == 4
    leads = {claim["source_image_url"]: claim["lead_token"] for claim in claims}
    assert len(set(leads.values())) == 2
    assert all(claim["lead_token"] == leads[claim["source_image_url"]] for claim in claims)


async def test_nobody_rides_with_another_user(owner: Any, stranger: Any, machine: Any) -> None:
    """Pictures of the same name belong to two users, and are two pictures."""
    for user in (owner, stranger, owner, stranger):
        await on(user, "a")
    claims = await machine.claim(1)
    assert len({claim["user_id"] for claim in claims}) == 1
    assert len(claims) == 2
    others = await machine.claim(1)
    assert {claim["lead_token"] for claim in claims}.isdisjoint(
        claim["lead_token"] for claim in others
    )


async def test_riders_take_nobodys_turn(
    owner: Any, stranger: Any, new_owner: Any, machine: Any, operator: Any
) -> None:
    """Two tasks on the first picture are one picture: the second is that of the next in line."""
    riders = [await on(owner, "a"), await on(owner, "a")]
    line = [*riders, await on(stranger, "b"), await on(await new_owner(), "c")]
    for place, task in enumerate(line):
        await operator.rows(
            "update public.segmentation_results set place = %s where id = %s", place, task["id"]
        )
    await operator.rows(
        "update segmentation.turns set place = (select min(place)"
        " from public.segmentation_results as mine where mine.user_id = turns.user_id)"
    )
    claims = await machine.claim(2)
    assert [str(claim["id"]) for claim in claims] == [task["id"] for task in line[:3]]


async def test_a_picture_takes_sixteen_tasks(owner: Any, machine: Any, service: Any) -> None:
    """The rest of a crowd on one picture waits for the next claim."""
    await service.call("set_user_tier", p_user_id=owner.id, p_tier="pro")
    for _ in range(20):
        await on(owner, "a")
    assert [len(await machine.claim(1)) for _ in range(3)] == [16, 4, 0]


async def test_a_ride_is_one_picture_of_the_cap(owner: Any, machine: Any) -> None:
    """A free user has eight pictures in flight, each with all its tasks."""
    for name in "abcdefghij" * 2:
        await on(owner, name)
    claims = await machine.claim(20)
    assert (len(claims), len({claim["lead_token"] for claim in claims})) == (16, 8)
    assert await machine.claim(20) == []


async def test_a_picture_without_its_lead_still_counts(owner: Any, machine: Any) -> None:
    """Cancelling the leads does not make room: their riders' pictures are still in work."""
    for name in "abcdefghij" * 2:
        await on(owner, name)
    for claim in await machine.claim(20):
        if claim["token"] == claim["lead_token"]:
            await owner.call("cancel_task", p_id=claim["id"])
    assert await machine.claim(20) == []


async def test_one_claim_takes_sixteen_too(busy_owner: Any, machine: Any) -> None:
    """Also a claim of many pictures gives one picture no more than sixteen tasks."""
    for _ in range(20):
        await on(busy_owner, "a")
    claims = await machine.claim(50)
    riders = [claim["lead_token"] for claim in claims]
    assert max(map(riders.count, riders)) <= 16


async def test_each_rider_ends_by_itself(
    owner: Any, machine: Any, task_row: Any, pass_lease: Any
) -> None:
    """One is done, one fails, one is cancelled, one is reaped: none takes the others along."""
    for _ in range(4):
        await on(owner, "a")
    done, failed, cancelled, silent = await machine.claim(1)
    await machine.complete(done)
    await machine.call("fail_task", p_token=failed["token"], p_error_code="invalid_image")
    await owner.call("cancel_task", p_id=cancelled["id"])
    await pass_lease(silent["token"])
    assert await machine.call("reap_tasks") == 1
    ends = [(await task_row(claim["id"]))["status"] for claim in (done, failed, cancelled, silent)]
    assert ends == ["done", "failed", "cancelled", "pending"]


async def test_a_rider_goes_on_without_its_lead(owner: Any, machine: Any) -> None:
    """The lead is cancelled; whoever rode with it may still finish."""
    lead, _ = [await on(owner, "a") for _ in range(2)]
    _, rider = await machine.claim(1)
    await owner.call("cancel_task", p_id=lead["id"])
    assert await machine.call("renew_lease", p_token=rider["token"]) == "ok"
    assert await machine.complete(rider) == "ok"


async def test_what_waits_for_its_backoff_does_not_ride(owner: Any, machine: Any) -> None:
    """A task that just failed keeps its distance, also from a lead on its picture."""
    await on(owner, "a")
    [failed] = await machine.claim(1)
    await machine.call("fail_task", p_token=failed["token"], p_error_code="pipeline_failed")
    task = await on(owner, "a")
    assert [str(claim["id"]) for claim in await machine.claim(1)] == [task["id"]]


async def test_what_the_machine_cannot_do_does_not_ride(owner: Any, machine: Any) -> None:
    """A task that needs more memory stays behind, though its picture is being worked on."""
    task = await on(owner, "a")
    await on(owner, "a", p_needs={"memory_mb": 80_000})
    claims = await machine.claim(1, p_capabilities={"memory_mb": 16_000})
    assert [str(claim["id"]) for claim in claims] == [task["id"]]


async def test_what_has_expired_does_not_ride(owner: Any, machine: Any, skip: Any) -> None:
    """A task past its deadline is not begun by way of its picture."""
    await on(owner, "a", p_deadline_seconds=60)
    task = await on(owner, "a")
    await skip(61)
    assert [str(claim["id"]) for claim in await machine.claim(1)] == [task["id"]]


async def test_the_ride_is_kept(owner: Any, machine: Any, operator: Any) -> None:
    """Each attempt names its lead, so an operator sees what shared a vision pass."""
    for _ in range(3):
        await on(owner, "a")
    claims = await machine.claim(1)
    rows = await operator.rows("select * from segmentation.attempts order by token")
    assert {row["lead_token"] for row in rows} == {claims[0]["token"]}
    assert {str(row["user_id"]) for row in rows} == {owner.id}
