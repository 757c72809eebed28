"""`net.http_post` as a project with pg_net has it: sent after the commit, once, and remembered."""

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import psycopg
import pytest
from net_receiver import Database, Receiver, answer_to, post, receiving


Eventually = Callable[..., Awaitable[None]]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver that answers at once."""
    async with receiving() as one:
        yield one


async def test_posts_the_text_of_the_body(db: Database, receiver: Receiver) -> None:
    """The bytes sent are `body::text` in UTF-8, which is what a trigger can sign."""
    body = {"b": 1, "a": "Häuschen 🐕", "long key": [1.50, None]}
    cursor = await db.execute("select %s::jsonb::text", [json.dumps(body)])
    [text] = await cursor.fetchone() or [""]

    request_id = await post(db, receiver.url, body=body, headers={"X-One": "two"})

    assert (await answer_to(db, request_id))[:3] == (200, False, None)
    [(request, sent)] = receiver.got
    assert sent == text.encode()
    assert request.method == "POST"
    assert request.headers["X-One"] == "two"
    assert request.headers["Content-Type"] == "application/json"


async def test_what_is_rolled_back_is_never_sent(db: Database, receiver: Receiver) -> None:
    """A request belongs to its transaction."""
    async with db.transaction(force_rollback=True):
        await post(db, f"{receiver.url}/no")
    request_id = await post(db, f"{receiver.url}/yes")

    await answer_to(db, request_id)
    assert [request.path for request, _ in receiver.got] == ["/yes"]


async def test_nothing_is_sent_before_the_commit(db: Database, receiver: Receiver) -> None:
    """The receiver may look at once and finds the row."""
    async with db.transaction():
        request_id = await post(db, receiver.url)
        with pytest.raises(TimeoutError):
            await answer_to(db, request_id, seconds=0.2)
        assert receiver.got == []

    await answer_to(db, request_id)


async def test_params_are_encoded(db: Database, receiver: Receiver) -> None:
    """Parameters become the query, whatever stands in them."""
    request_id = await post(db, receiver.url, params={"a b": "ü&=", "c": "1"})

    await answer_to(db, request_id)
    [(request, _)] = receiver.got
    assert dict(request.query) == {"a b": "ü&=", "c": "1"}


async def test_nothing_is_tried_twice(db: Database, receiver: Receiver) -> None:
    """A failure is noted, and that is all."""
    receiver.status = 500
    first_id = await post(db, receiver.url)
    assert (await answer_to(db, first_id))[0] == 500

    await answer_to(db, await post(db, receiver.url))
    assert len(receiver.got) == 2


async def test_a_slow_receiver_times_out(db: Database, receiver: Receiver) -> None:
    """After `timeout_milliseconds` the request is given up."""
    receiver.gate.clear()

    request_id = await post(db, receiver.url, timeout_milliseconds=100)

    status, timed_out, error, _ = await answer_to(db, request_id)
    assert (status, timed_out) == (None, True)
    assert "100 ms" in error


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/", "no url", "ftp://127.0.0.1/x"])
async def test_an_unreachable_receiver_is_noted(db: Database, url: str) -> None:
    """What cannot be sent leaves an error and harms no other request."""
    status, timed_out, error, _ = await answer_to(db, await post(db, url))

    assert (status, timed_out) == (None, False)
    assert error


async def test_only_json_is_posted(db: Database, receiver: Receiver) -> None:
    """Another content type is refused, in any case of the header's name."""
    with pytest.raises(psycopg.errors.RaiseException, match="application/json"):
        await post(db, receiver.url, headers={"content-TYPE": "text/plain"})


async def test_every_request_of_a_burst_is_sent(
    db: Database, receiver: Receiver, eventually: Eventually
) -> None:
    """More than a batch is sent batch by batch: one that waits holds up the next."""
    receiver.gate.clear()
    await db.execute(
        "select net.http_post(%s, timeout_milliseconds => 60000) from generate_series(1, 450)",
        [receiver.url],
    )

    await eventually(lambda: len(receiver.got) > 0)
    cursor = await db.execute("select count(*) from net.http_request_queue")
    assert await cursor.fetchone() == (450,)  # the taking is not committed before the answers
    receiver.gate.set()
    await eventually(lambda: len(receiver.got) == 450, seconds=20)


async def test_is_sent_at_once(db: Database, receiver: Receiver) -> None:
    """The worker is woken by the commit, not by a clock of a second."""
    waits = []
    for _ in range(9):
        began_at = time.perf_counter()
        await answer_to(db, await post(db, receiver.url))
        waits.append(time.perf_counter() - began_at)

    # About 0.02 s on a quiet machine.
    assert sorted(waits)[4] < 0.4


async def test_answers_are_kept_for_six_hours(
    db: Database, receiver: Receiver, eventually: Eventually
) -> None:
    """Older ones go with the next batch; younger ones stay."""
    old_id, young_id = await post(db, receiver.url), await post(db, receiver.url)
    await answer_to(db, old_id)
    await answer_to(db, young_id)
    age = "update net._http_response set created = now() - %s::interval where id = %s"
    await db.execute(age, ["6 hours 1 minute", old_id])
    await db.execute(age, ["5 hours 59 minutes", young_id])

    await answer_to(db, await post(db, receiver.url))

    cursor = await db.execute(
        "select id from net._http_response where id = any(%s)", [[old_id, young_id]]
    )
    assert await cursor.fetchall() == [(young_id,)]


async def test_the_queue_is_unlogged_and_open(db: Database) -> None:
    """As hosted: a crash empties the tables, and every role may read the headers in them."""
    cursor = await db.execute(
        "select bool_and(relpersistence = 'u'),"
        " bool_and(has_table_privilege('anon', oid, 'select'))"
        " from pg_class where relnamespace = 'net'::regnamespace and relkind = 'r'"
    )

    assert await cursor.fetchone() == (True, True)


async def test_the_api_does_not_show_it(http: aiohttp.ClientSession) -> None:
    """REST has no way to `net`."""
    async with http.post("/rest/v1/rpc/http_post", json={"url": "http://127.0.0.1/"}) as answer:
        assert answer.status == 404
