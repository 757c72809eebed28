"""`s3 replay` repairs: every effect once, despite faults and kills."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from failing_receiver import Ran, Receiver, Replay, Start, message

from adapters.rest import Rest
from devstack.testing import Stack


FAST = ("--rate", "100000", "--max-failures", "0", "--json", "--target-allow", "127.0.0.1")
MANY = 1000
ROUNDS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Outbox:
    """An endpoint of a new user, with MANY deliveries that failed once."""

    env: dict[str, str]
    endpoint_id: str
    ids: frozenset[str]


@pytest.fixture
async def outbox(
    stack: Stack, db: Any, new_user: Callable[..., Awaitable[Any]], receiver: Receiver
) -> AsyncIterator[Outbox]:
    """Deliveries as the dispatcher would have left them."""
    await db.execute("delete from public.webhook_endpoints")
    user = await new_user()
    async with Rest(url=stack.url, key=stack.anon_key) as rest:
        made = await rest.rpc(
            "create_webhook",
            {"p_url": receiver.url, "p_events": ["task.done"], "p_description": None},
            user.access_token,
        )
    receiver.secret = made["secret"]
    endpoint = made["webhook"]["id"]
    await db.execute(
        "insert into public.webhook_deliveries (endpoint_id, user_id, event, body, attempt_count)"
        " select %s, %s, 'task.done',"
        " jsonb_build_object('type', 'task.done', 'data',"
        "  jsonb_build_object('task_id', gen_random_uuid()))::text, 1"
        " from generate_series(1, %s)",
        (endpoint, user.id, MANY),
    )
    await db.execute(
        "insert into public.webhook_attempts (delivery_id, user_id, status_code, latency_ms)"
        " select id, user_id, 503, 12 from public.webhook_deliveries"
    )
    rows = await (await db.execute("select id from public.webhook_deliveries")).fetchall()
    yield Outbox(
        env={**stack.env, "REPLAY_SECRET": ""},
        endpoint_id=endpoint,
        ids=frozenset(row[0] for row in rows),
    )
    await db.execute("delete from public.webhook_endpoints")


async def until_dry(replay: Replay, first: Ran, log: Path, **env: str) -> None:
    """Recover what the log says is still failing, until nothing is."""
    ran = first
    for _ in range(ROUNDS):
        if ran.code == 0:
            return
        ran = await replay(
            *("--from", str(log), "--mode", "recover", "--record", str(log)),
            *("--yes", *FAST),
            **env,
        )
    pytest.fail("never dry")


@pytest.mark.parametrize("faults", [(), ("--dup", "0.3", "--shuffle", "--order", "none")])
async def test_recover_until_dry_has_each_effect_once(
    replay: Replay, outbox: Outbox, receiver: Receiver, tmp_path: Path, faults: tuple[str, ...]
) -> None:
    """1,000 failed deliveries to a receiver that fails 20 %: recovered, they are 1,000 effects."""
    receiver.fail = lambda n: n % 5 == 0
    log = tmp_path / "log.ndjson"

    first = await replay(
        *("--from", "outbox", "--record", str(log), "--yes", *FAST, *faults), **outbox.env
    )
    assert first.code == 1
    await until_dry(replay, first, log, **outbox.env)

    assert set(receiver.effects) == outbox.ids
    assert len(receiver.requests) > MANY
    assert receiver.refused == []


async def test_new_ids_defeat_the_receivers_deduplication(
    replay: Replay, outbox: Outbox, receiver: Receiver, tmp_path: Path
) -> None:
    """Negative control: with --new-id duplicates are further effects."""
    await replay(
        *("--from", "outbox", "--yes", "--dup", "0.3", "--new-id", *FAST),
        **outbox.env,
    )

    assert len(receiver.effects) > MANY


@pytest.mark.parametrize("sig", [signal.SIGKILL, signal.SIGINT])
async def test_a_run_ended_half_way_goes_on_with_the_rest(
    start: Start,
    replay: Replay,
    outbox: Outbox,
    receiver: Receiver,
    tmp_path: Path,
    eventually: Callable[..., Awaitable[None]],
    sig: signal.Signals,
) -> None:
    """After a kill, --resume sends what has no answer yet, and only that; ids stay the same."""
    half, at_once = MANY // 2, 8
    receiver.gate = asyncio.Event()
    receiver.gate.set()
    arguments = ("--from", "outbox", "--yes", "--concurrency", str(at_once), *FAST)
    process = await start("replay", *arguments, **outbox.env)
    await eventually(lambda: len(receiver.requests) >= half, 60)
    receiver.gate.clear()
    process.send_signal(sig)
    assert await process.wait() == (-sig if sig is signal.SIGKILL else 130)
    receiver.gate.set()
    before = len(receiver.requests)
    (checkpoint,) = (tmp_path / "state").rglob("*.ndjson")

    resumed = await replay("--resume", checkpoint.stem, "--yes", **outbox.env)

    assert resumed.code == 0, resumed.err
    assert half <= before < MANY
    assert set(receiver.effects) == outbox.ids
    assert MANY <= len(receiver.requests) <= MANY + at_once


async def test_a_finished_run_has_no_rest(
    replay: Replay, receiver: Receiver, recorded: Callable[..., Path], tmp_path: Path
) -> None:
    """Resuming what is complete sends nothing and ends with 0."""
    path = recorded(message(), message())
    ran = await replay("--from", str(path), "--target", receiver.url, "--yes", *FAST)
    run = ran.document["plan"]["run"]

    again = await replay("--resume", run, "--yes")

    assert (ran.code, again.code) == (0, 0)
    assert again.document["plan"]["sends"] == 0
    assert len(receiver.requests) == 2


async def test_without_the_checkpoint_everything_is_sent_again(
    replay: Replay, receiver: Receiver, recorded: Callable[..., Path]
) -> None:
    """Negative control: only the checkpoint knows; another run sends everything."""
    path = recorded(message(), message())

    for _ in range(2):
        await replay("--from", str(path), "--target", receiver.url, "--yes", *FAST)

    assert len(receiver.requests) == 4


async def test_what_left_the_source_is_told(
    replay: Replay, receiver: Receiver, recorded: Callable[..., Path]
) -> None:
    """A resumed run that cannot find a message ends with 1, and counts it."""
    receiver.fail = lambda n: True
    path = recorded(message(), message())
    ran = await replay("--from", str(path), "--target", receiver.url, "--yes", *FAST)
    receiver.fail = lambda n: False
    lines = path.read_text().splitlines()
    path.write_text(lines[0] + "\n")

    again = await replay("--resume", ran.document["plan"]["run"], "--yes")

    assert again.code == 1
    assert again.document["plan"]["gone"] == again.document["summary"]["gone"] == 1
    assert again.document["summary"]["ok"] == 1


async def test_a_checkpoint_keeps_no_secret(
    replay: Replay, receiver: Receiver, recorded: Callable[..., Path], tmp_path: Path
) -> None:
    """Neither --secret nor --header is written down."""
    path = recorded(message())
    given = ("--secret", receiver.secret, "--header", "x-api-key: hidden-value")

    await replay("--from", str(path), "--target", receiver.url, "--yes", *given, *FAST)

    (checkpoint,) = (tmp_path / "state").rglob("*.ndjson")
    assert str(path) in checkpoint.read_text()
    assert receiver.secret not in checkpoint.read_text()
    assert "hidden-value" not in checkpoint.read_text()


async def test_without_yes_nothing_is_sent(
    replay: Replay, outbox: Outbox, receiver: Receiver, tmp_path: Path
) -> None:
    """The plan counts, ends with 3, and leaves no trace; control: with it one is sent."""
    arguments = ("--from", "outbox", "--json", "--target-allow", "127.0.0.1")

    ran = await replay(*arguments, **outbox.env)

    plan = ran.document["plan"]
    assert ran.code == 3
    assert plan["by_type"] == {"task.done": {"failed": MANY}}
    assert plan["seconds"] == MANY / 20
    assert receiver.requests == []
    assert not (tmp_path / "state").exists()

    await replay(*arguments, "--yes", "--limit", "1", **outbox.env)
    assert len(receiver.requests) == 1
