"""Who is sent to next, with the clock in the test's hand."""

import uuid
from datetime import UTC, datetime

import pytest

from webhooks.delivery import lines
from webhooks.delivery.answers import Answer
from webhooks.delivery.lines import Lines
from webhooks.delivery.outbox import Delivery


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
def queue() -> Lines:
    """Four at once to each endpoint; nothing waits longer than 30 s."""
    return Lines(per_endpoint=4, patience_seconds=30)


def taken(queue: Lines, now: float = 0) -> list[Delivery]:
    """All that may be sent now."""
    found = []
    while (delivery := queue.take(now)) is not None:
        found.append(delivery)
    return found


def test_each_endpoint_has_its_share_in_its_order(queue: Lines) -> None:
    """Endpoints take turns, each gets four at once, first come first sent."""
    queue.put(some(ONE, 6) + some(OTHER, 2), now=0)

    found = [(each.endpoint_id, each.id) for each in taken(queue)]

    assert found == [
        (ONE, "m0"),
        (OTHER, "m0"),
        (ONE, "m1"),
        (OTHER, "m1"),
        (ONE, "m2"),
        (ONE, "m3"),
    ]


def test_an_end_makes_place_for_the_next(queue: Lines) -> None:
    """What is done is followed by the next of its line."""
    queue.put(some(ONE, 5), now=0)
    first, *_ = taken(queue)

    queue.done(first, GOOD, 0)

    assert [each.id for each in taken(queue)] == ["m4"]


def test_who_failed_gets_one_at_a_time(queue: Lines) -> None:
    """After a failure an endpoint has one request open, until it takes one."""
    queue.put(some(ONE, 12), now=0)
    for each in taken(queue):
        queue.done(each, BAD, 0)

    (alone,) = taken(queue)
    queue.done(alone, GOOD, 0)

    assert len(taken(queue)) == 4


@pytest.mark.parametrize(("answer", "times"), [(BAD, 5), (GONE, 1)])
def test_a_hopeless_endpoint_is_left_alone(queue: Lines, answer: Answer, times: int) -> None:
    """After five failures in a row, or a 410, what waits for it goes back to its lease."""
    queue.put(some(ONE, 20) + some(OTHER, 1), now=0)
    for _ in range(times):
        delivery = next(
            each for each in iter(lambda: queue.take(0), None) if each.endpoint_id == ONE
        )
        queue.done(delivery, answer, 0)

    assert [each.endpoint_id for each in taken(queue) if each.endpoint_id == ONE] == []
    assert queue.let_go > 0


def test_who_asks_for_time_gets_it_for_all(queue: Lines) -> None:
    """After a 429 with Retry-After nothing in hand goes there before; then one at a time."""
    queue.put(some(ONE, 9) + some(OTHER, 1), now=0)
    first, other, *open_with_it = taken(queue)
    queue.done(first, BUSY, 0)
    for each in open_with_it:
        queue.done(each, BAD, 1)

    assert other.endpoint_id == OTHER
    assert taken(queue, now=19.9) == []
    assert [each.id for each in taken(queue, now=20)] == ["m4"]


@pytest.mark.parametrize(
    "answer",
    [
        Answer(latency_ms=1, status_code=429),
        Answer(latency_ms=1, status_code=500, retry_after_seconds=20),
    ],
)
def test_another_failure_asks_for_no_time(queue: Lines, answer: Answer) -> None:
    """Negative control: without the header, or with another status, the next goes at once."""
    queue.put(some(ONE, 9), now=0)
    for each in taken(queue):
        queue.done(each, answer, 0)

    assert [each.id for each in taken(queue)] == ["m4"]


def test_what_could_outlive_its_lease_is_not_sent(queue: Lines) -> None:
    """Who waited longer than the patience is let go; younger ones are sent."""
    queue.put(some(ONE, 2), now=0)
    queue.put(some(ONE, 3)[2:], now=20)

    assert [each.id for each in taken(queue, now=31)] == ["m2"]
    assert queue.let_go == 2


def test_a_slow_endpoint_leaves_room_for_others(queue: Lines) -> None:
    """A line that stands still stops no claim, however long it is."""
    queue.put(some(ONE, lines.AHEAD + 4), now=0)
    taken(queue)

    assert queue.room(now=0.5) == 0
    assert queue.room(now=1.5) == lines.AHEAD


def test_without_that_rule_a_slow_endpoint_would_stop_all_claims(
    queue: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: if no line ever counts as slow, there is never room again."""
    monkeypatch.setattr(lines, "SLOW_SECONDS", float("inf"))
    queue.put(some(ONE, lines.AHEAD + 4), now=0)
    taken(queue)

    assert queue.room(now=29) == 0


def test_the_surplus_of_a_long_line_is_let_go(queue: Lines) -> None:
    """Memory is bounded: one endpoint has at most so many in hand."""
    queue.put(some(ONE, lines.LONGEST_LINE + 7), now=0)

    assert (queue.waiting, queue.let_go) == (lines.LONGEST_LINE, 7)
