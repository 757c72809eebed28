"""The circuit of an endpoint: opens after five failures, lets one through, closes on success."""

import asyncio
from typing import Any

import pytest
from database.webhook_calls import (
    add_webhook,
    endpoint_row,
    fail,
    make_due,
    settle,
    take,
)
from psycopg.rows import DictRow


FAILURES_THAT_OPEN = 5


@pytest.fixture
async def webhook(owner: Any) -> DictRow:
    """The owner's endpoint."""
    return await add_webhook(owner)


@pytest.fixture
async def claim(owner: Any, webhook: DictRow, service: Any) -> DictRow:
    """One delivery to it, in a dispatcher's hand."""
    await owner.call("test_webhook", p_id=webhook["id"])
    [taken] = await take(service)
    return taken


async def test_five_failures_in_a_row_open_the_circuit(
    owner: Any, claim: DictRow, webhook: DictRow, service: Any, operator: Any
) -> None:
    """Then nothing is sent to that endpoint; after four it still was."""
    await settle(service, claim, 500)
    await fail(service, operator, webhook, FAILURES_THAT_OPEN - 2)
    assert (await endpoint_row(operator, webhook))["circuit_open_until"] is None
    await fail(service, operator, webhook, 1)
    row = await endpoint_row(operator, webhook)
    assert row["failures"] == FAILURES_THAT_OPEN
    assert row["circuit_open_until"] is not None
    await owner.call("test_webhook", p_id=webhook["id"])
    assert await take(service) == []


async def test_an_open_circuit_is_one_endpoints_own(
    owner: Any, claim: DictRow, webhook: DictRow, service: Any, operator: Any
) -> None:
    """Another endpoint of the same user is served meanwhile."""
    await settle(service, claim, 500)
    await fail(service, operator, webhook, FAILURES_THAT_OPEN - 1)
    other = await add_webhook(owner)
    await owner.call("test_webhook", p_id=other["id"])
    assert [str(each["endpoint_id"]) for each in await take(service)] == [other["id"]]


async def test_a_half_open_circuit_lets_one_through(
    owner: Any, claim: DictRow, webhook: DictRow, service: Any, operator: Any
) -> None:
    """Of many that wait one goes to see; its failure opens the circuit for longer."""
    for _ in range(4):
        await owner.call("test_webhook", p_id=webhook["id"])
    await operator.rows("update public.webhook_endpoints set failures = 5")
    await make_due(operator, webhook)
    shares = await asyncio.gather(*(take(service) for _ in range(4)))
    [probe] = [each for share in shares for each in share]
    assert await take(service) == []
    assert claim["endpoint_id"] == probe["endpoint_id"]
    await settle(service, probe, 500)
    row = await endpoint_row(operator, webhook)
    left = await operator.value(
        "select extract(epoch from circuit_open_until - now())::float"
        " from public.webhook_endpoints where id = %s",
        webhook["id"],
    )
    assert row["failures"] == FAILURES_THAT_OPEN + 1
    assert 18 <= left <= 20
    assert await take(service) == []


async def test_a_success_closes_the_circuit(
    owner: Any, claim: DictRow, webhook: DictRow, service: Any, operator: Any
) -> None:
    """The one that got through lets all others follow."""
    for _ in range(4):
        await owner.call("test_webhook", p_id=webhook["id"])
    await operator.rows("update public.webhook_endpoints set failures = 7")
    await make_due(operator, webhook)
    [probe] = await take(service)
    await settle(service, probe, 204)
    row = await endpoint_row(operator, webhook)
    assert (row["failures"], row["circuit_open_until"]) == (0, None)
    assert len(await take(service)) == 4
    assert claim["endpoint_id"] == probe["endpoint_id"]


async def test_its_owner_closes_the_circuit(
    owner: Any, claim: DictRow, webhook: DictRow, service: Any, operator: Any
) -> None:
    """A change of the endpoint says that somebody has looked at it."""
    await settle(service, claim, 500)
    await fail(service, operator, webhook, FAILURES_THAT_OPEN - 1)
    await owner.call("update_webhook", p_id=webhook["id"], p_url="https://mended.example/")
    row = await endpoint_row(operator, webhook)
    assert (row["failures"], row["circuit_open_until"]) == (0, None)


async def test_a_probe_that_is_never_settled_comes_again(
    claim: DictRow, webhook: DictRow, service: Any, operator: Any
) -> None:
    """A dispatcher that dies with the probe in hand does not close the endpoint for ever."""
    await operator.rows("update public.webhook_endpoints set failures = 5")
    await make_due(operator, webhook)
    [probe] = await take(service)
    await make_due(operator, webhook)
    [again] = await take(service)
    assert probe["id"] == again["id"] == claim["id"]
