"""Which delivery is next; the test sets the time."""

import uuid
from datetime import UTC, datetime

import pytest

from webhooks.delivery import endpoint_queues
from webhooks.delivery.endpoint_queues import EndpointQueues
from webhooks.delivery.outbox import Answer, Delivery


GOOD = Answer(latency_ms=1, status_code=200)
BAD = Answer(latency_ms=1, status_code=500)
GONE = Answer(latency_ms=1, status_code=410)
BUSY = Answer(latency_ms=1, status_code=429, retry_after_seconds=20)

ONE, OTHER = uuid.uuid4(), uuid.uuid4()


def some(endpoint: uuid.UUID, count: int) -> list[Delivery]:
    """Deliveries to an endpoint, `m0` first."""
    return [
        Delivery(
            id=f"m{number}",
            claim_token=1,
            endpoint_id=endpoint,
            url="https://example.org",
            secrets=(),
            event="task.done",
            body="{}",
            attempt_count=0,
            created_at=datetime.now(UTC),
        )
        for number in range(count)
    ]


@pytest.fixture
def queues() -> EndpointQueues:
    """Four at once to each endpoint; nothing waits longer than 30 s."""
    return EndpointQueues(per_endpoint=4, patience_seconds=30)


def taken(queues: EndpointQueues, now: float = 0) -> list[Delivery]:
    """All that may be sent now."""
    found = []
    while (delivery := queues.take(now)) is not None:
        found.append(delivery)
    return found


def test_each_endpoint_has_its_share_in_its_order(queues: EndpointQueues) -> None:
    """Endpoints take turns, each gets four at once, first come first sent."""
    queues.put(some(ONE, 6) + some(OTHER, 2), now=0)

    found = [(each.endpoint_id, each.id) for each in taken(queues)]

    assert found == [
        (ONE, "m0"),
        (OTHER, "m0"),
        (ONE, "m1"),
        (OTHER, "m1"),
        (ONE, "m2"),
        (ONE, "m3"),
    ]


def test_an_end_makes_place_for_the_next(queues: EndpointQueues) -> None:
    """When a send ends, the next of its queue may be sent."""
    queues.put(some(ONE, 5), now=0)
    first, *_ = taken(queues)

    queues.done(first, GOOD, 0)

    assert [each.id for each in taken(queues)] == ["m4"]


def test_who_failed_gets_one_at_a_time(queues: EndpointQueues) -> None:
    """After a failure an endpoint has one open request, until one succeeds."""
    queues.put(some(ONE, 12), now=0)
    for each in taken(queues):
        queues.done(each, BAD, 0)

    (alone,) = taken(queues)
    queues.done(alone, GOOD, 0)

    assert len(taken(queues)) == 4


@pytest.mark.parametrize(("answer", "times"), [(BAD, 5), (GONE, 1)])
def test_a_hopeless_endpoint_is_left_alone(
    queues: EndpointQueues, answer: Answer, times: int
) -> None:
    """After five failures in a row, or a 410, what waits for it goes back to its lease."""
    queues.put(some(ONE, 20) + some(OTHER, 1), now=0)
    for _ in range(times):
        delivery = next(
            each for each in iter(lambda: queues.take(0), None) if each.endpoint_id == ONE
        )
        queues.done(delivery, answer, 0)

    assert [each.endpoint_id for each in taken(queues) if each.endpoint_id == ONE] == []
    assert queues.let_go > 0


def test_who_asks_for_time_gets_it_for_all(queues: EndpointQueues) -> None:
    """After a 429 with Retry-After nothing is sent there before that time; then one at a time."""
    queues.put(some(ONE, 9) + some(OTHER, 1), now=0)
    first, other, *open_with_it = taken(queues)
    queues.done(first, BUSY, 0)
    for each in open_with_it:
        queues.done(each, BAD, 1)

    assert other.endpoint_id == OTHER
    assert taken(queues, now=19.9) == []
    assert [each.id for each in taken(queues, now=20)] == ["m4"]


@pytest.mark.parametrize(
    "answer",
    [
        Answer(latency_ms=1, status_code=429),
        Answer(latency_ms=1, status_code=500, retry_after_seconds=20),
    ],
)
def test_another_failure_asks_for_no_time(queues: EndpointQueues, answer: Answer) -> None:
    """Negative control: without the header, or with another status, the next goes at once."""
    queues.put(some(ONE, 9), now=0)
    for each in taken(queues):
        queues.done(each, answer, 0)

    assert [each.id for each in taken(queues)] == ["m4"]


def test_what_could_outlive_its_lease_is_not_sent(queues: EndpointQueues) -> None:
    """A delivery that waited longer than the patience is let go; younger ones are sent."""
    queues.put(some(ONE, 2), now=0)
    queues.put(some(ONE, 3)[2:], now=20)

    assert [each.id for each in taken(queues, now=31)] == ["m2"]
    assert queues.let_go == 2


def test_a_slow_endpoint_leaves_room_for_others(queues: EndpointQueues) -> None:
    """A queue that does not move stops no claim, however long it is."""
    queues.put(some(ONE, endpoint_queues.AHEAD + 4), now=0)
    taken(queues)

    assert queues.room(now=0.5) == 0
    assert queues.room(now=1.5) == endpoint_queues.AHEAD


def test_without_that_rule_a_slow_endpoint_would_stop_all_claims(
    queues: EndpointQueues, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: if no queue ever counts as slow, there is never room again."""
    monkeypatch.setattr(endpoint_queues, "SLOW_SECONDS", float("inf"))
    queues.put(some(ONE, endpoint_queues.AHEAD + 4), now=0)
    taken(queues)

    assert queues.room(now=29) == 0


def test_the_surplus_of_a_long_queue_is_let_go(queues: EndpointQueues) -> None:
    """Memory is bounded: one endpoint has at most so many claimed deliveries."""
    queues.put(some(ONE, endpoint_queues.LONGEST_QUEUE + 7), now=0)

    assert (queues.waiting, queues.let_go) == (endpoint_queues.LONGEST_QUEUE, 7)
