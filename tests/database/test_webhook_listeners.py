"""What listeners ask: is that webhook new, and what may this attempt touch?"""

from typing import Any

import pytest


@pytest.fixture(autouse=True)
async def _clean(operator: Any) -> None:
    """Receipts outlive users, so they outlive tests."""
    await operator.rows("delete from segmentation.webhook_receipts")


async def test_a_webhook_is_accepted_once(machine: Any, new_machine: Any, service: Any) -> None:
    """The second time it is a duplicate, on any machine and after any restart."""
    assert await machine.call("accept_webhook", p_id="msg_1") == "ok"
    other = await new_machine()
    for caller in (machine, other, service):
        assert await caller.call("accept_webhook", p_id="msg_1") == "duplicate"
    assert await machine.call("accept_webhook", p_id="msg_2") == "ok"


async def test_old_receipts_are_forgotten(machine: Any, operator: Any) -> None:
    """After a day an id may come again; a receiver refuses so old a signature long before."""
    await machine.call("accept_webhook", p_id="msg_1")
    await operator.rows(
        "update segmentation.webhook_receipts set received_at = received_at - interval '25 hours'"
    )
    await machine.call("accept_webhook", p_id="msg_2")
    rows = await operator.rows("select id from segmentation.webhook_receipts")
    assert [row["id"] for row in rows] == ["msg_2"]


@pytest.mark.parametrize("webhook_id", ["", "x" * 201, None])
async def test_a_senseless_id_is_refused(machine: Any, refused: Any, webhook_id: Any) -> None:
    """1 to 200 characters."""
    with refused("PT400", "invalid_request"):
        await machine.call("accept_webhook", p_id=webhook_id)


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
    """Whoever fell silent gets no URL, reaped or not."""
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
    """Neither takes webhooks in nor asks for objects."""
    await service.call("set_machine_enabled", p_id=machine.id, p_enabled=False)
    for caller in (owner, machine):
        with refused("PT403", "forbidden"):
            await caller.call("accept_webhook", p_id="msg_1")
        with refused("PT403", "forbidden"):
            await caller.call("attempt_objects", p_token=1)
