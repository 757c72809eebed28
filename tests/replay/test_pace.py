"""Pace, order and giving up."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import web
from replay_parts import Receiver, Replay, message

from replay.pace import Pace


YES = ("--yes", "--json", "--rate", "100000")


async def test_the_rate_is_kept() -> None:
    """Eleven turns at 100 per second take a tenth of a second, whoever takes them."""
    pace = Pace(100)
    began = time.monotonic()

    await asyncio.gather(*(pace.turn("a") for _ in range(11)))

    assert 0.1 <= time.monotonic() - began < 2


async def test_retry_after_is_honoured(
    replay: Replay, receiver: Receiver, recorded: Callable[..., Path]
) -> None:
    """429 with Retry-After: the same message again, not sooner, and that is no failure."""
    receiver.answers = [web.Response(status=429, headers={"Retry-After": "1"})]
    path = recorded(message())
    began = time.monotonic()

    ran = await replay("--from", str(path), "--target", receiver.url, *YES)

    assert ran.code == 0
    assert time.monotonic() - began >= 1
    ids = [headers["webhook-id"] for headers, _ in receiver.requests]
    assert len(ids) == 2
    assert len(set(ids)) == 1


async def test_a_long_retry_after_is_a_failure_for_a_resumed_run(
    replay: Replay, receiver: Receiver, recorded: Callable[..., Path]
) -> None:
    """Nobody waits an hour: exit 1, and --resume sends it."""
    receiver.answers = [web.Response(status=503, headers={"Retry-After": "3600"})]
    path = recorded(message())

    ran = await replay("--from", str(path), "--target", receiver.url, *YES)
    resumed = await replay("--resume", ran.document["plan"]["run"], "--yes")

    assert (ran.code, resumed.code) == (1, 0)


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
