"""Dispatchers: the fence, the schedule, dead letters, 410 and Retry-After."""

import asyncio
from typing import Any

import psycopg
import pytest
from database.webhook_calls import (
    add_webhook,
    deliveries_of,
    endpoint_row,
    fail,
    make_due,
    seconds_until_next,
    settle,
    take,
)
from psycopg.rows import DictRow

from s3_sam3.contracts import webhooks


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


async def test_a_claim_has_all_that_is_sent(webhook: DictRow, claim: DictRow) -> None:
    """Address, body and the secrets that sign."""
    assert claim["url"] == webhook["url"]
    assert claim["secrets"] == [webhook["secret"]]
    assert (claim["event"], claim["attempt_count"]) == (webhooks.TEST_EVENT, 0)


async def test_a_claimed_delivery_is_nobody_elses(claim: DictRow, service: Any) -> None:
    """Until the lease ends a second dispatcher finds nothing."""
    assert claim
    assert await take(service) == []


async def test_dispatchers_at_once_share_without_overlap(
    owner: Any, webhook: DictRow, service: Any
) -> None:
    """Each delivery goes to one of them."""
    for _ in range(10):
        await owner.call("test_webhook", p_id=webhook["id"])
    shares = await asyncio.gather(*(take(service, limit=4) for _ in range(4)))
    ids = [claim["id"] for share in shares for claim in share]
    assert len(ids) == len(set(ids))
    rest = await take(service)
    assert len(ids) + len(rest) == 10


async def test_after_the_lease_another_takes_over_and_the_first_is_stale(
    claim: DictRow, webhook: DictRow, service: Any, operator: Any
) -> None:
    """The token moves with the delivery: the late one changes nothing, the new one settles."""
    await make_due(operator, webhook)
    [taken] = await take(service)
    assert taken["id"] == claim["id"]
    assert await settle(service, claim, 500) == "stale"
    assert await operator.value("select count(*) from public.webhook_attempts") == 0
    assert await settle(service, taken, 200) == "ok"


async def test_a_delivery_is_settled_once(claim: DictRow, service: Any) -> None:
    """The same word again is stale."""
    assert await settle(service, claim, 200) == "ok"
    assert await settle(service, claim, 200) == "stale"


async def test_a_guessed_token_settles_nothing(claim: DictRow, service: Any) -> None:
    """Negative control of the fence: another number is stale, the right one is not."""
    forged = {**claim, "claim_token": claim["claim_token"] + 1}
    assert await settle(service, forged, 200) == "stale"
    assert await settle(service, claim, 200) == "ok"


@pytest.mark.parametrize("status", [200, 201, 204, 299])
async def test_2xx_delivers(
    claim: DictRow, webhook: DictRow, service: Any, operator: Any, status: int
) -> None:
    """It is over, with the answer's beginning kept."""
    await settle(service, claim, status, p_answer="x" * 5000)
    [row] = await deliveries_of(operator, webhook)
    assert (row["status"], row["last_status_code"]) == ("delivered", status)
    assert row["finished_at"] is not None
    [attempt] = await operator.rows("select * from public.webhook_attempts")
    assert (attempt["status_code"], attempt["latency_ms"]) == (status, 12)
    assert attempt["answer"] == "x" * 1024


@pytest.mark.parametrize("status", [301, 400, 404, 429, 500, 503, 999, None])
async def test_anything_else_is_tried_again(
    claim: DictRow, webhook: DictRow, service: Any, operator: Any, status: int | None
) -> None:
    """Redirects, refusals, faults, nonsense and silence are failures of one attempt."""
    assert await settle(service, claim, status, p_error="e" * 900) == "ok"
    [row] = await deliveries_of(operator, webhook)
    assert (row["status"], row["attempt_count"]) == ("pending", 1)
    assert await take(service) == []


async def test_the_schedule_is_the_contracts(operator: Any) -> None:
    """Each wait grows as RETRY_SECONDS says, give or take a tenth; then none is left."""
    for number, seconds in enumerate(webhooks.RETRY_SECONDS, start=1):
        waits = await operator.rows(
            "select extract(epoch from segmentation.delivery_wait(%s))::float as wait"
            " from generate_series(1, 50)",
            number,
        )
        found = [row["wait"] for row in waits]
        assert 0.9 * seconds <= min(found) < max(found) <= 1.1 * seconds
    beyond = len(webhooks.RETRY_SECONDS) + 1
    assert await operator.value("select segmentation.delivery_wait(%s)", beyond) is None


async def test_failures_wait_longer_and_longer(
    claim: DictRow, webhook: DictRow, service: Any, operator: Any
) -> None:
    """The waits of one delivery follow the schedule."""
    await settle(service, claim, 500)
    first = await seconds_until_next(operator, claim["id"])
    await make_due(operator, webhook)
    [again] = await take(service)
    await settle(service, again, 500)
    second = await seconds_until_next(operator, claim["id"])
    assert 4 <= first <= 5.5
    assert 265 <= second <= 330


async def test_the_last_failure_is_a_dead_letter(
    claim: DictRow, webhook: DictRow, service: Any, operator: Any
) -> None:
    """One attempt more than there are waits, then it is dead and stays so."""
    await settle(service, claim, 500)
    await fail(service, operator, webhook, len(webhooks.RETRY_SECONDS))
    [row] = await deliveries_of(operator, webhook)
    assert (row["status"], row["attempt_count"]) == ("dead", len(webhooks.RETRY_SECONDS) + 1)
    assert row["finished_at"] is not None
    await make_due(operator, webhook)
    assert await take(service) == []


async def test_a_dead_letter_can_be_redelivered(
    owner: Any, claim: DictRow, webhook: DictRow, service: Any, operator: Any
) -> None:
    """It gets the whole schedule again."""
    await settle(service, claim, 500)
    await fail(service, operator, webhook, len(webhooks.RETRY_SECONDS))
    await owner.call("redeliver_webhook", p_delivery_id=claim["id"])
    await make_due(operator, webhook)
    [again] = await take(service)
    assert (again["id"], again["attempt_count"]) == (claim["id"], 0)


async def test_410_switches_the_webhook_off(
    owner: Any, claim: DictRow, webhook: DictRow, service: Any, operator: Any
) -> None:
    """The delivery is dead, the endpoint `gone`, and nothing is sent until its owner acts."""
    await owner.call("test_webhook", p_id=webhook["id"])
    await settle(service, claim, 410)
    row = await endpoint_row(operator, webhook)
    assert (row["enabled"], row["disabled_reason"]) == (False, "gone")
    assert [each["status"] for each in await deliveries_of(operator, webhook)] == [
        "dead",
        "pending",
    ]
    assert await take(service) == []
    await owner.call("update_webhook", p_id=webhook["id"], p_enabled=True)
    assert len(await take(service)) == 1


@pytest.mark.parametrize(("asked", "low", "high"), [(600, 599, 601), (10**6, 86_390, 86_401)])
async def test_retry_after_makes_the_wait_longer(
    claim: DictRow, service: Any, operator: Any, asked: int, low: float, high: float
) -> None:
    """What the receiver asks for counts, up to a day."""
    await settle(service, claim, 503, p_retry_after_seconds=asked)
    assert low <= await seconds_until_next(operator, claim["id"]) <= high


@pytest.mark.parametrize("asked", [0, 1, -600, None])
async def test_retry_after_never_makes_it_shorter(
    claim: DictRow, service: Any, operator: Any, asked: int | None
) -> None:
    """The schedule is the least."""
    await settle(service, claim, 503, p_retry_after_seconds=asked)
    assert 4 <= await seconds_until_next(operator, claim["id"]) <= 5.5


async def test_the_last_attempt_is_the_last_whatever_retry_after_says(
    claim: DictRow, webhook: DictRow, service: Any, operator: Any
) -> None:
    """A receiver cannot keep a delivery alive for ever."""
    await settle(service, claim, 500)
    await fail(service, operator, webhook, len(webhooks.RETRY_SECONDS) - 1)
    await make_due(operator, webhook)
    [last] = await take(service)
    await settle(service, last, 503, p_retry_after_seconds=60)
    assert (await deliveries_of(operator, webhook))[0]["status"] == "dead"


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        ("claim_deliveries", {}),
        ("settle_delivery", {"p_id": "x", "p_claim_token": 1, "p_status_code": 200}),
        ("prune_webhooks", {}),
    ],
)
async def test_dispatching_is_for_the_service_key(
    owner: Any, machine: Any, function: str, arguments: dict[str, Any]
) -> None:
    """Neither users nor machines see what is sent to whom."""
    if function == "settle_delivery":
        arguments = {**arguments, "p_latency_ms": 1}
    for caller in (owner, machine):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await caller.table(function, **arguments)


@pytest.mark.parametrize(
    "bounds",
    [{"p_limit": 0}, {"p_limit": 1001}, {"p_lease_seconds": 0}, {"p_lease_seconds": 3601}],
)
async def test_claims_are_bounded(service: Any, refused: Any, bounds: dict[str, int]) -> None:
    """Limit 1 to 1000, lease 1 to 3600 seconds."""
    with refused("PT400", "invalid_request"):
        await service.table("claim_deliveries", **bounds)
