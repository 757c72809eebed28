"""What is not understood ends with 2 and names the option; what does not answer with 4."""

from collections.abc import Callable
from pathlib import Path

import pytest
from failing_receiver import Replay, message

from webhooks.replay import UsageError, options


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"mode": "bad"}, "--mode: Input should be 'recover', 'missing' or 'all'"),
        ({"order": "bad"}, "--order: Input should be 'key' or 'none'"),
        ({"timeout": "0"}, "--timeout: Input should be greater than 0"),
        ({"timeout": "0s"}, "--timeout: Input should be greater than 0"),
        ({"since": "99999999999d"}, "--since: no calendar goes back that far"),
        ({"until": "yesterday"}, "--until: Invalid isoformat string"),
        ({"rate": "0"}, "--rate: a rate is a number over 0"),
        ({"dup": "2"}, "--dup: Input should be less than or equal to 1"),
        ({"headers": ["none"]}, "--header: a header is NAME:VALUE"),
        ({"code": "600"}, "--code: String should match"),
        ({"source": ""}, "--from outbox, --from rows or --from FILE"),
    ],
)
def test_what_is_not_understood_is_named(typed: dict[str, object], said: str) -> None:
    """The option, what was typed, and what is wrong with it."""
    with pytest.raises(UsageError) as refused:
        options.read({"source": "outbox", **typed})

    assert said in str(refused.value)


@pytest.mark.parametrize("given", [("--mood", "x"), ("--from", "outbox", "--rate", "0")])
async def test_what_is_not_understood_ends_with_2(replay: Replay, given: tuple[str, ...]) -> None:
    """An unknown option, or a value that an option cannot have."""
    ran = await replay(*given)

    assert ran.code == 2
    assert given[-2] in ran.err


@pytest.mark.parametrize(
    ("typed", "name", "value"),
    [
        ({"timeout": "500ms"}, "timeout", 0.5),
        ({"rate": "600/m"}, "rate", 10),
        ({"delay": "10ms..2s"}, "delay", (0.01, 2)),
        ({"delay": "1s"}, "delay", (1, 1)),
        ({"headers": ["A: b", "C:d"]}, "headers", (("A", "b"), ("C", "d"))),
        ({"max_failures": "0"}, "max_failures", 0),
    ],
)
def test_what_is_understood(typed: dict[str, object], name: str, value: object) -> None:
    """Control: spans, rates and headers in each way of writing them."""
    assert getattr(options.read({"source": "r.ndjson", **typed}), name) == value


async def test_a_database_that_does_not_answer_ends_with_4(replay: Replay) -> None:
    """Nothing listens there."""
    ran = await replay(
        *("--from", "outbox"), SUPABASE_URL="http://127.0.0.1:9", SUPABASE_SERVICE_KEY="k"
    )

    assert ran.code == 4
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ((), 0.5),
        (("--rate", "1/s"), 10),
        (("--delay", "60s", "--concurrency", "1"), 600),
        (("--delay", "60s", "--concurrency", "5"), 120),
        (("--delay", "60s", "--concurrency", "100"), 60),
    ],
)
async def test_the_plan_says_how_long_it_takes_at_least(
    replay: Replay, recorded: Callable[..., Path], given: tuple[str, ...], seconds: float
) -> None:
    """By the rate, or by the delays, so many at once; whichever is longer."""
    path = recorded(*(message() for _ in range(10)))

    ran = await replay("--from", str(path), "--target", "http://127.0.0.1:9/", "--json", *given)

    assert ran.document["plan"]["seconds"] == seconds


async def test_the_plan_knows_the_longest_queue(
    replay: Replay, recorded: Callable[..., Path]
) -> None:
    """Messages of one task wait for each other's delays; control: without order they do not."""
    one = message()
    path = recorded(*(message(key=one.key, body=one.body) for _ in range(10)))
    arguments_of_both = ("--from", str(path), "--target", "http://127.0.0.1:9/", "--json")

    keyed = await replay(*arguments_of_both, "--delay", "60s", "--concurrency", "100")
    free = await replay(
        *arguments_of_both, "--delay", "60s", "--concurrency", "100", "--order", "none"
    )

    assert (keyed.document["plan"]["seconds"], free.document["plan"]["seconds"]) == (600, 60)
