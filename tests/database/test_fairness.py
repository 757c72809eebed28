"""Fair turns between users: nobody waits behind another's heap, nobody takes all the machines."""

import asyncio
from collections import Counter
from typing import Any

import pytest


pytestmark = pytest.mark.usefixtures("all_is_paid")


@pytest.fixture
def pay(service: Any) -> Any:
    """Give a user credits and a tier."""

    async def give(user: Any, amount: int, tier: str = "free") -> None:
        """Give both."""
        await service.call("grant_credits", p_user_id=user.id, p_credits=amount, p_reason="test")
        await service.call("set_user_tier", p_user_id=user.id, p_tier=tier)

    return give


async def serve(machine: Any, count: int) -> list[str]:
    """Claim and complete one task after the other; whose they were."""
    served = []
    for _ in range(count):
        for claim in await machine.claim():
            await machine.complete(claim)
            served.append(str(claim["user_id"]))
    return served


async def test_a_few_tasks_do_not_wait_behind_thousands(
    owner: Any, stranger: Any, machine: Any, pay: Any
) -> None:
    """Five of a small user behind 2,000 of a large one are among the first twelve claimed."""
    await pay(stranger, 2000)
    await stranger.queue(2000)
    await owner.queue(5)
    assert (await serve(machine, 12)).count(owner.id) == 5


async def test_one_claim_of_many_is_as_fair(
    owner: Any, stranger: Any, machine: Any, pay: Any
) -> None:
    """A worker that asks for twelve at once gets what twelve that ask for one get."""
    for user in (owner, stranger):
        await pay(user, 100, "internal")
    await stranger.queue(200)
    few = await owner.queue(5)
    claimed = [str(claim["id"]) for claim in await machine.claim(12)]
    assert (len(claimed), set(few) <= set(claimed)) == (12, True)


async def test_a_task_in_tiles_takes_as_many_turns_as_passes(
    owner: Any, stranger: Any, machine: Any, pay: Any
) -> None:
    """After one task of 17 passes, seventeen plain tasks of another go before the second."""
    await pay(stranger, 100)
    await pay(owner, 100)
    await stranger.queue(2, options={"tiles": 4})
    await owner.queue(20)
    served = await serve(machine, 22)
    second = [place for place, user in enumerate(served) if user == stranger.id][1]
    assert 17 <= served[:second].count(owner.id) <= 18


async def test_first_come_first_served_lets_the_few_wait(
    owner: Any, stranger: Any, machine: Any, operator: Any
) -> None:
    """Negative control: in the order of arrival none of the five is among twelve."""
    await stranger.queue(50)
    await owner.queue(5)
    await operator.rows(
        """
        update public.segmentation_results as task set virtual_start = line.nth
        from (
            select id, row_number() over (order by (user_id = %s), virtual_start) as nth
            from public.segmentation_results
        ) as line
        where line.id = task.id
        """,
        owner.id,
    )
    await operator.rows(
        "update segmentation.user_queues as queue set virtual_start = (select min(virtual_start)"
        " from public.segmentation_results as mine where mine.user_id = queue.user_id)"
    )
    assert owner.id not in await serve(machine, 12)


async def test_a_newcomer_owes_nothing_and_is_owed_nothing(
    owner: Any, stranger: Any, machine: Any
) -> None:
    """A user who comes after an hour of another's work shares evenly from then on."""
    await stranger.queue(80)
    await serve(machine, 40)
    await owner.queue(30)
    shares = Counter(await serve(machine, 20))
    assert abs(shares[owner.id] - shares[stranger.id]) <= 2


async def test_a_dear_task_counts_more(owner: Any, stranger: Any, machine: Any) -> None:
    """Shares are of credits: who asks for four prompts a task gets a fourth as many tasks."""
    await owner.queue(20, prompts=[{"text": "cat"}] * 4)
    await stranger.queue(80)
    shares = Counter(await serve(machine, 40))
    assert 3 <= shares[stranger.id] / shares[owner.id] <= 5


async def test_a_tier_has_its_weight(owner: Any, stranger: Any, machine: Any, pay: Any) -> None:
    """Once its head start is used up, a pro user gets four credits for each of a free user's."""
    await pay(stranger, 200, "pro")
    await owner.queue(80)
    await stranger.queue(250)
    # Twenty credits of others' work, at a weight of four.
    await serve(machine, 80)
    shares = Counter(await serve(machine, 50))
    assert 3 <= shares[stranger.id] / shares[owner.id] <= 5


async def test_a_pro_user_goes_first_but_not_for_ever(
    owner: Any, stranger: Any, machine: Any, pay: Any
) -> None:
    """The head start is bounded: a free user's task is served while pro tasks keep coming."""
    await pay(stranger, 400, "pro")
    await owner.queue(1)
    served: list[str] = []
    while owner.id not in served:
        assert len(served) <= 100, "a free user starves"
        await stranger.queue(4)
        served += await serve(machine, 4)
    assert len(served) > 4


async def test_a_crowd_of_pro_users_does_not_starve_a_free_one(
    owner: Any, new_owner: Any, machine: Any, pay: Any
) -> None:
    """Each of three pro users goes ahead by twenty credits at weight four, and no further."""
    await owner.queue(1)
    for user in [await new_owner() for _ in range(3)]:
        await pay(user, 50, "pro")
        await user.queue(120)
    served = await serve(machine, 3 * 20 * 4)
    assert owner.id not in served
    assert owner.id in await serve(machine, 10)


async def test_a_user_is_served_in_the_order_of_arrival(
    owner: Any, stranger: Any, machine: Any
) -> None:
    """However turns go between users, each user's own tasks keep their order."""
    mine = []
    for _ in range(5):
        mine += await owner.queue(2)
        await stranger.queue(3)
    claimed = [str(claim["id"]) for _ in range(25) for claim in await machine.claim()]
    assert [task for task in claimed if task in mine] == mine[:8]


@pytest.mark.parametrize(("tier", "cap"), [("free", 8), ("pro", 64)])
async def test_a_user_has_so_many_tasks_in_flight(
    owner: Any, machine: Any, operator: Any, pay: Any, tier: str, cap: int
) -> None:
    """Forty claimers at once never go beyond the tier's cap, and they reach it."""
    await pay(owner, 100, tier)
    await owner.queue(100)
    claims = await asyncio.gather(*(machine.claim(2) for _ in range(40)))
    assert sum(map(len, claims)) == cap
    for claim in [claim for each in claims for claim in each][:3]:
        await machine.complete(claim)
    assert len(await machine.claim(100)) == 3


async def test_without_a_cap_one_user_takes_all(busy_owner: Any, machine: Any) -> None:
    """Negative control: the tier without bounds is given a hundred at once."""
    await busy_owner.queue(100)
    assert len(await machine.claim(100)) == 100


async def test_a_capped_user_stands_in_nobodys_way(owner: Any, stranger: Any, machine: Any) -> None:
    """Behind a user at their cap the next one is served."""
    await owner.queue(20)
    assert len(await machine.claim(20)) == 8
    await stranger.queue(2)
    assert [str(claim["user_id"]) for claim in await machine.claim(20)] == [stranger.id] * 2


async def test_a_task_behind_a_backoff_is_not_held_up(
    owner: Any, stranger: Any, machine: Any
) -> None:
    """While the first in line waits for its retry, idle machines are given the next ones."""
    await owner.queue(3)
    await stranger.queue(2)
    kept = 1
    for claim in await machine.claim(4):
        if kept and str(claim["user_id"]) == stranger.id:
            kept -= 1
            await machine.complete(claim)
            continue
        await machine.call("fail_task", p_token=claim["token"], p_error_code="pipeline_failed")
    # The stranger's backoff stands between the owner's and what the owner has due.
    assert [str(claim["user_id"]) for claim in await machine.claim()] == [owner.id]
