"""What a listener asks for `job-urls`: what may this attempt touch?"""

from typing import Any

import pytest


async def test_the_holder_learns_what_its_attempt_may_touch(owner: Any, machine: Any) -> None:
    """The source, the prefix under its token, and when the attempt ends at the latest."""
    task = await owner.submit()
    [claim] = await machine.claim()
    found = await machine.call("attempt_objects", p_token=claim["token"])
    assert found["source"] == task["source_image_url"]
    assert found["result_prefix"] == f"results/{owner.id}/{task['id']}/{claim['token']}/"
    assert found["expires_at"].startswith(claim["deadline_at"].date().isoformat())


async def test_a_service_key_learns_it_too(owner: Any, machine: Any, service: Any) -> None:
    """Negative control of the next: an operator is not bound to a machine."""
    await owner.submit()
    [claim] = await machine.claim()
    assert await service.call("attempt_objects", p_token=claim["token"]) is not None


async def test_another_machine_learns_nothing(owner: Any, machine: Any, new_machine: Any) -> None:
    """Tokens can be guessed, so they count only for the machine that claimed."""
    await owner.submit()
    [claim] = await machine.claim()
    thief = await new_machine()
    assert await thief.call("attempt_objects", p_token=claim["token"]) is None
    assert await machine.call("attempt_objects", p_token=claim["token"]) is not None


async def test_an_ended_attempt_opens_nothing(owner: Any, machine: Any) -> None:
    """After complete and after release the token is worth nothing."""
    await owner.submit()
    [claim] = await machine.claim()
    await machine.call("release_task", p_token=claim["token"])
    assert await machine.call("attempt_objects", p_token=claim["token"]) is None
    [again] = await machine.claim()
    await machine.complete(again)
    assert await machine.call("attempt_objects", p_token=again["token"]) is None


async def test_a_cancelled_task_opens_nothing(owner: Any, machine: Any) -> None:
    """Its owner has taken it back."""
    task = await owner.submit()
    [claim] = await machine.claim()
    await owner.call("cancel_task", p_id=task["id"])
    assert await machine.call("attempt_objects", p_token=claim["token"]) is None


async def test_an_expired_lease_opens_nothing(owner: Any, machine: Any, pass_lease: Any) -> None:
    """A worker that fell silent gets no URL, reaped or not."""
    await owner.submit()
    [claim] = await machine.claim()
    await pass_lease(claim["token"])
    assert await machine.call("attempt_objects", p_token=claim["token"]) is None


@pytest.mark.parametrize("token", [0, -1, None])
async def test_an_unknown_token_opens_nothing(machine: Any, token: Any) -> None:
    """A number that never was a token, and none at all."""
    assert await machine.call("attempt_objects", p_token=token) is None


async def test_users_and_disabled_machines_are_refused(
    owner: Any, machine: Any, service: Any, refused: Any
) -> None:
    """Neither asks for objects."""
    await service.call("set_machine_enabled", p_id=machine.id, p_enabled=False)
    for caller in (owner, machine):
        with refused("PT403", "forbidden"):
            await caller.call("attempt_objects", p_token=1)
