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


@pytest.mark.parametrize("status", [429, 503])
async def test_who_asks_for_time_gets_it_for_all(
    owner: Any, claim: DictRow, webhook: DictRow, service: Any, operator: Any, status: int
) -> None:
    """Retry-After of one delivery holds the endpoint's others back as long; then they go."""
    await owner.call("test_webhook", p_id=webhook["id"])
    await settle(service, claim, status, p_retry_after_seconds=60)
    assert await take(service) == []
    assert 59 <= await seconds_held(operator, webhook) <= 60
    await make_due(operator, webhook)
    assert len(await take(service)) == 2


async def test_time_that_was_asked_for_is_a_day_at_most(
    claim: DictRow, webhook: DictRow, service: Any, operator: Any
) -> None:
    """A receiver cannot silence itself for ever."""
    await settle(service, claim, 503, p_retry_after_seconds=10**6)
    assert 86_390 <= await seconds_held(operator, webhook) <= 86_400


@pytest.mark.parametrize("other", [500, 200])
async def test_requests_that_were_open_do_not_end_the_wait(
    owner: Any, claim: DictRow, webhook: DictRow, service: Any, operator: Any, other: int
) -> None:
    """Answers of the same burst come in any order; none of them takes the time away."""
    await owner.call("test_webhook", p_id=webhook["id"])
    [beside] = await take(service)
    await settle(service, claim, 429, p_retry_after_seconds=60)
    await settle(service, beside, other)
    assert 59 <= await seconds_held(operator, webhook) <= 60


@pytest.mark.parametrize(("status", "asked"), [(429, None), (500, 60), (200, 60)])
async def test_other_answers_hold_nothing_back(
    owner: Any, claim: DictRow, webhook: DictRow, service: Any, status: int, asked: int | None
) -> None:
    """Negative control: no header, or another status, concerns one delivery alone."""
    await owner.call("test_webhook", p_id=webhook["id"])
    await settle(service, claim, status, p_retry_after_seconds=asked)
    assert len(await take(service)) == 1


async def seconds_held(operator: Any, webhook: DictRow) -> float:
    """How long nothing more is sent to an endpoint."""
    query = """
        select extract(epoch from circuit_open_until - now())::float
        from public.webhook_endpoints where id = %s
    """
    seconds: float = await operator.value(query, webhook["id"])
    return seconds
