"""What users' endpoints may have the operator's machine do, and whose secret signs."""

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from failing_receiver import SECRET, Receiver, Replay, message

from adapters.rest import Rest
from devstack.testing import Stack
from s3_sam3 import recordings
from s3_sam3.messages import Attempt


YES = ("--yes", "--json", "--rate", "100000")
HERE = ("--target-allow", "127.0.0.1")


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoUsers:
    """Two users, each with a receiver of their own and failed deliveries."""

    receivers: tuple[Receiver, Receiver]
    endpoints: tuple[str, str]
    env: dict[str, str]
    """REPLAY_SECRET is set, and is nobody's."""


EACH = 3


@pytest.fixture
async def users(
    stack: Stack,
    db: Any,
    new_user: Callable[..., Awaitable[Any]],
    receiver: Receiver,
    other_receiver: Receiver,
) -> AsyncIterator[TwoUsers]:
    """Both of them at 127.0.0.1."""
    await db.execute("delete from public.webhook_endpoints")
    endpoints = []
    for each in (receiver, other_receiver):
        user = await new_user()
        async with Rest(url=stack.url, key=stack.anon_key) as rest:
            made = await rest.rpc(
                "create_webhook",
                {"p_url": each.url, "p_events": ["task.done"], "p_description": None},
                user.access_token,
            )
        each.secret = made["secret"]
        endpoints.append(made["webhook"]["id"])
        for _ in range(EACH):
            await _failed(db, endpoints[-1], user.id)
    yield TwoUsers(
        receivers=(receiver, other_receiver),
        endpoints=(endpoints[0], endpoints[1]),
        env={**stack.env, "REPLAY_SECRET": SECRET},
    )
    await db.execute("delete from public.webhook_endpoints")


async def _failed(db: Any, endpoint: str, user: uuid.UUID) -> None:
    made = await db.execute(
        "insert into public.webhook_deliveries (endpoint_id, user_id, event, body, attempt_count)"
        " values (%s, %s, 'task.done', jsonb_build_object('type', 'task.done', 'data',"
        " jsonb_build_object('task_id', gen_random_uuid()))::text, 1) returning id",
        (endpoint, user),
    )
    (message_id,) = await made.fetchone()
    await db.execute(
        "insert into public.webhook_attempts (delivery_id, user_id, status_code, latency_ms)"
        " values (%s, %s, 503, 12)",
        (message_id, user),
    )


async def test_no_user_reaches_the_operators_machine(replay: Replay, users: TwoUsers) -> None:
    """An endpoint's own loopback URL is no permission: its messages are excluded and counted."""
    ran = await replay("--from", "outbox", *YES, **users.env)

    assert (ran.code, ran.document["sent"]) == (3, False)
    assert ran.document["plan"]["excluded"] == {"inside": 2 * EACH}
    assert [each.requests for each in users.receivers] == [[], []]


async def test_a_host_that_the_operator_named_is_sent_to(replay: Replay, users: TwoUsers) -> None:
    """Control: the same deliveries, by --target-allow and by --target."""
    named = await replay("--from", "outbox", *YES, *HERE, **users.env)
    target = users.receivers[0].url
    typed = await replay("--from", "outbox", *YES, "--target", target, **users.env)

    assert named.document["summary"]["ok"] == 2 * EACH
    assert typed.document["plan"]["excluded"] == {}
    assert [len(each.requests) for each in users.receivers] == [EACH + 2 * EACH, EACH]


async def test_each_users_own_secret_signs(replay: Replay, users: TwoUsers) -> None:
    """REPLAY_SECRET replaces no endpoint's secret, and the plan names the signer."""
    ran = await replay("--from", "outbox", *YES, *HERE, **users.env)

    assert ran.code == 0
    assert ran.document["plan"]["by_signer"] == {"the endpoint's own secrets": 2 * EACH}
    assert [each.refused for each in users.receivers] == [[], []]


@pytest.mark.parametrize("by", ["--secret", "REPLAY_SECRET"])
async def test_a_secret_that_the_operator_chose_signs_all(
    replay: Replay, users: TwoUsers, by: str
) -> None:
    """Control: --secret, or REPLAY_SECRET with a --target, does replace them."""
    first = users.receivers[0]
    first.secret = SECRET
    given = ("--secret", SECRET, *HERE) if by == "--secret" else ("--target", first.url)

    ran = await replay("--from", "outbox", *YES, *given, **users.env)

    assert ran.document["plan"]["by_signer"] == {by: 2 * EACH}
    assert first.refused == []
    assert len(users.receivers[1].refused) == (EACH if by == "--secret" else 0)


async def test_an_endpoint_that_was_switched_off_is_left_alone(
    replay: Replay, users: TwoUsers, db: Any
) -> None:
    """Its messages are counted in the plan; control: --include-disabled sends them."""
    await db.execute(
        "update public.webhook_endpoints set enabled = false where id = %s",
        (users.endpoints[0],),
    )
    ran = await replay("--from", "outbox", *YES, *HERE, **users.env)

    assert ran.code == 0
    assert ran.document["plan"]["excluded"] == {"disabled": EACH}
    assert [len(each.requests) for each in users.receivers] == [0, EACH]

    await replay("--from", "outbox", *YES, *HERE, "--include-disabled", **users.env)
    assert len(users.receivers[0].requests) == EACH


async def test_of_a_run_that_goes_on_only_what_is_due_can_be_excluded(
    replay: Replay, users: TwoUsers, db: Any
) -> None:
    """Of a switched-off endpoint only what it never got counts as excluded."""
    users.receivers[0].fail = lambda n: True
    ran = await replay("--from", "outbox", *YES, *HERE, **users.env)
    rest = ("--resume", ran.document["plan"]["run"], "--yes")

    await db.execute("update public.webhook_endpoints set enabled = false")
    lacking = await replay(*rest, **users.env)
    users.receivers[0].fail = lambda n: False
    await replay(*rest, "--include-disabled", **users.env)
    complete = await replay(*rest, **users.env)

    assert (ran.code, lacking.code, complete.code) == (1, 3, 0)
    assert lacking.document["plan"]["excluded"] == {"disabled": EACH}
    assert complete.document["plan"]["excluded"] == {}


async def test_a_recording_of_the_outbox_keeps_to_each_users_secret(
    replay: Replay, users: TwoUsers, tmp_path: Path
) -> None:
    """The recipe of docs/replay.md until nothing is left, for several users at once."""
    log = ("--record", str(tmp_path / "log.ndjson"))
    for each in users.receivers:
        each.fail = lambda n: n == 1
    first = await replay("--from", "outbox", *YES, *HERE, *log, **users.env)
    again = ("--from", log[1], "--mode", "recover")
    second = await replay(*again, *YES, *HERE, *log, **users.env)
    dry = await replay(*again, *YES, *HERE, *log, **users.env)

    assert [first.code, second.code, dry.code] == [1, 0, 0]
    assert not first.document["plan"]["forgotten"]
    assert dry.document["plan"]["sends"] == 0
    assert second.document["plan"]["by_signer"] == {"the endpoint's own secrets": 2}
    assert [each.refused for each in users.receivers] == [[], []]


async def test_a_deleted_endpoint_does_not_stop_the_others(
    replay: Replay, users: TwoUsers, db: Any, tmp_path: Path
) -> None:
    """What a recording knows of it is excluded, as of one that is switched off."""
    log = ("--record", str(tmp_path / "log.ndjson"))
    await replay("--from", "outbox", *YES, *HERE, *log, **users.env)
    await db.execute("delete from public.webhook_endpoints where id = %s", (users.endpoints[0],))

    ran = await replay("--from", log[1], *YES, *HERE, **users.env)

    assert (ran.code, ran.document["plan"]["excluded"]) == (0, {"disabled": EACH})
    assert [len(each.requests) for each in users.receivers] == [EACH, 2 * EACH]


async def test_the_outbox_never_becomes_dry_by_itself(replay: Replay, users: TwoUsers) -> None:
    """The tool writes nothing back: the same again each time, and the plan says so."""
    plan = await replay("--from", "outbox", *HERE, **users.env)
    for _ in range(2):
        ran = await replay("--from", "outbox", *YES, *HERE, **users.env)
        assert ran.document["plan"]["messages"] == 2 * EACH
        assert ran.document["plan"]["forgotten"]

    assert "--resume the run" in plan.out


async def test_a_recorded_410_is_the_receivers_last_word(
    replay: Replay, receiver: Receiver, recorded: Callable[..., Path]
) -> None:
    """Also where no database says that the endpoint is off; control: --target is the operator's."""
    path = recorded(message(url=receiver.url, last=Attempt(status=410, latency_ms=1)))

    ran = await replay("--from", str(path), *YES, *HERE)
    assert (ran.document["plan"]["excluded"], receiver.requests) == ({"disabled": 1}, [])

    await replay("--from", str(path), *YES, "--target", receiver.url)
    assert len(receiver.requests) == 1
    assert recordings.read(path)[0].last is not None
