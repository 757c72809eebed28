"""Pace, order and giving up."""

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from failing_receiver import SECRET, Receiver, Replay, Start, message

from webhooks.replay.run import Pace


YES = ("--yes", "--json", "--rate", "100000")


async def test_the_rate_is_kept() -> None:
    """Eleven turns at 100 per second take a tenth of a second."""
    pace = Pace(100)
    began = time.monotonic()

    for _ in range(11):
        await pace.turn()
        pace.spend()

    assert 0.1 <= time.monotonic() - began < 2


async def test_retry_after_is_honoured(
    replay: Replay, receiver: Receiver, recorded: Callable[..., Path]
) -> None:
    """429 with Retry-After: the same message again, not sooner, and the run ends with 0."""
    receiver.answers = [web.Response(status=429, headers={"Retry-After": "1"})]
    path = recorded(message())
    began = time.monotonic()

    ran = await replay("--from", str(path), "--target", receiver.url, *YES)

    assert ran.code == 0
    assert time.monotonic() - began >= 1
    ids = [headers["webhook-id"] for headers, _ in receiver.requests]
    assert len(ids) == 2
    assert len(set(ids)) == 1


async def test_every_try_leaves_a_trace(
    replay: Replay, receiver: Receiver, recorded: Callable[..., Path], tmp_path: Path
) -> None:
    """Report, recording and --max count what was sent, not what was settled."""
    receiver.answers = [web.Response(status=429, headers={"Retry-After": "0"}) for _ in range(2)]
    log = tmp_path / "log.ndjson"
    path = recorded(message(), message())

    ran = await replay(
        *("--from", str(path), "--target", receiver.url, *YES, "--max", "3"),
        *("--record", str(log), "--concurrency", "1"),
    )

    assert [each["status"] for each in ran.document["attempts"]] == [429, 429, 200, None]
    assert len(receiver.requests) == len(log.read_text().splitlines()) == 3
    told = ran.document["summary"]
    assert (told["ok"], told["again"], told["skipped"], told["left"]) == (1, 2, 1, 1)


async def test_tries_count_for_giving_up(
    replay: Replay, receiver: Receiver, recorded: Callable[..., Path]
) -> None:
    """A receiver that only ever asks to come again is given up as one that fails."""
    receiver.answers = [web.Response(status=503, headers={"Retry-After": "0"}) for _ in range(50)]
    path = recorded(*(message() for _ in range(10)))

    await replay(
        *("--from", str(path), "--target", receiver.url, *YES),
        *("--max-failures", "5", "--concurrency", "1"),
    )

    assert len(receiver.requests) == 5


async def test_a_host_that_asks_for_more_patience_is_given_up(
    replay: Replay, receiver: Receiver, recorded: Callable[..., Path]
) -> None:
    """The run does not wait: it ends with 1, says until when, and --resume sends the rest."""
    receiver.answers = [web.Response(status=503, headers={"Retry-After": "3600"})]
    path = recorded(*(message() for _ in range(20)))

    ran = await replay("--from", str(path), "--target", receiver.url, *YES, "--concurrency", "1")
    before = len(receiver.requests)
    resumed = await replay("--resume", ran.document["plan"]["run"], "--yes")

    assert (ran.code, resumed.code, before) == (1, 0, 1)
    assert ran.document["summary"]["skipped"] == 19
    assert "left alone until 20" in next(iter(ran.document["given_up"].values()))
    assert len(receiver.effects) == 20


async def test_a_retry_after_that_no_calendar_has_is_no_traceback(
    replay: Replay, receiver: Receiver, recorded: Callable[..., Path]
) -> None:
    """It asks for no wait: the answer is a failure like any other."""
    never = "Wed, 21 Oct 99999999999999999999 07:28:00 GMT"
    receiver.answers = [web.Response(status=429, headers={"Retry-After": never})]

    ran = await replay("--from", str(recorded(message())), "--target", receiver.url, *YES)

    assert ran.code == 1
    assert ran.document["summary"]["failed"] == 1


async def test_one_hosts_retry_after_is_not_anothers(
    start: Start,
    receiver: Receiver,
    other_receiver: Receiver,
    recorded: Callable[..., Path],
    eventually: Callable[..., Awaitable[None]],
) -> None:
    """Twenty messages to a host that is held, then three to another one: those are sent at once."""
    receiver.answers = [
        web.Response(status=429, headers={"Retry-After": "100"}) for _ in range(100)
    ]
    old = datetime.now(UTC) - timedelta(days=1)
    held = [message(url=receiver.url, created_at=old) for _ in range(20)]
    free = [message(url=other_receiver.url) for _ in range(3)]

    await start(
        *("replay", "--from", str(recorded(*held, *free)), *YES, "--concurrency", "2"),
        *("--target-allow", "127.0.0.1"),
        REPLAY_SECRET=SECRET,
    )

    await eventually(lambda: len(other_receiver.effects) == 3, 20)
    assert 1 <= len(receiver.requests) <= 2


async def test_a_host_that_fails_in_a_row_is_given_up(
    replay: Replay, receiver: Receiver, recorded: Callable[..., Path]
) -> None:
    """After five failures in a row nothing more is sent; the rest is for --resume."""
    receiver.fail = lambda n: True
    path = recorded(*(message() for _ in range(50)))
    arguments = ("--max-failures", "5", "--concurrency", "1")

    ran = await replay("--from", str(path), "--target", receiver.url, *YES, *arguments)

    assert ran.code == 1
    assert len(receiver.requests) == 5
    assert ran.document["summary"]["skipped"] == 45
    assert ran.document["summary"]["left"] == 50


async def test_without_a_limit_no_host_is_given_up(
    replay: Replay, receiver: Receiver, recorded: Callable[..., Path]
) -> None:
    """Control of the one above: --max-failures 0 sends all fifty."""
    receiver.fail = lambda n: True
    path = recorded(*(message() for _ in range(50)))

    await replay("--from", str(path), "--target", receiver.url, *YES, "--max-failures", "0")

    assert len(receiver.requests) == 50


async def test_max_cuts_a_run_and_resume_sends_the_rest(
    replay: Replay, receiver: Receiver, recorded: Callable[..., Path]
) -> None:
    """A capped run ends with 1, because something is left."""
    path = recorded(*(message() for _ in range(5)))

    ran = await replay("--from", str(path), "--target", receiver.url, *YES, "--max", "3")
    assert (ran.code, len(receiver.requests)) == (1, 3)
    resumed = await replay("--resume", ran.document["plan"]["run"], "--yes")

    assert (resumed.code, len(receiver.effects)) == (0, 5)


@pytest.mark.parametrize(("order", "serial"), [("key", True), ("none", False)])
async def test_messages_of_one_task_are_sent_one_after_the_other(
    replay: Replay,
    receiver: Receiver,
    recorded: Callable[..., Path],
    order: str,
    *,
    serial: bool,
) -> None:
    """By key no two of a task overlap; negative control: without order they do."""
    one = message()
    same = [message(key=one.key, body=one.body) for _ in range(40)]
    receiver.pause_seconds = 0.01

    ran = await replay(
        *("--from", str(recorded(*same)), "--target", receiver.url, *YES, "--order", order)
    )

    assert ran.code == 0
    assert (receiver.overlapped == 0) is serial
    if serial:
        sent = [headers["webhook-id"] for headers, _ in receiver.requests]
        by_time = [each.id for each in sorted(same, key=lambda m: (m.created_at, m.id))]
        assert sent == by_time


@pytest.mark.parametrize(("order", "sent"), [("key", 1), ("none", 3)])
async def test_nothing_overtakes_a_message_of_its_task_that_failed(
    replay: Replay, receiver: Receiver, recorded: Callable[..., Path], order: str, sent: int
) -> None:
    """The rest of its task is skipped, for --resume; negative control: without order it goes on."""
    receiver.fail = lambda n: n == 1
    one = message()
    same = [message(key=one.key, body=one.body) for _ in range(3)]

    ran = await replay(
        *("--from", str(recorded(*same)), "--target", receiver.url, *YES, "--order", order),
        *("--concurrency", "1"),
    )
    before = len(receiver.requests)
    resumed = await replay("--resume", ran.document["plan"]["run"], "--yes")

    assert (ran.code, before, resumed.code) == (1, sent, 0)
    assert ran.document["summary"]["skipped"] == 3 - sent
    assert len(receiver.effects) == 3
