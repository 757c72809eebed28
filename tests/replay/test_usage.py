"""What is not understood ends with 2 and words of its own; what does not answer with 4."""

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest
from failing_receiver import Replay, message

from webhooks.replay import arguments, sources
from webhooks.replay.errors import UsageError


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--mood", "x"), "unrecognized arguments: --mood x"),
        (("--status", "bad"), "(choose from 'ok', 'failed', 'missing', 'any')"),
        (("--mode", "bad"), "(choose from 'recover', 'missing', 'all')"),
        (("--order", "bad"), "(choose from 'key', 'none')"),
        (("--timeout", "0"), "a span over 0"),
        (("--timeout", "0s"), "a span over 0"),
        (("--since", "99999999999d"), "no calendar goes back that far"),
        (("--until", "yesterday"), "invalid moment value: 'yesterday'"),
        (("--rate", "0"), "a rate is a number over 0"),
        (("--dup", "2"), "a probability is from 0 to 1"),
    ],
)
def test_what_is_not_understood_is_named(
    given: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2, with the usage of the command that the user typed."""
    with pytest.raises(SystemExit) as ended:
        arguments.parsed(["send", *given])

    told = capsys.readouterr().err
    assert ended.value.code == 2
    assert told.startswith("usage: s3 replay ")
    assert said in told


def asked(*given: str) -> argparse.Namespace:
    """A command line that is understood."""
    return arguments.parsed(["send", *given])


@pytest.mark.parametrize("source", ["outbox", "rows"])
def test_a_task_that_has_no_id_is_a_usage_error(source: str) -> None:
    """The database would refuse it; control: a recording may know tasks by other names."""
    with pytest.raises(UsageError, match="'abc' is no id of a task"):
        sources.selected(asked("--from", source, "--task", "abc"))

    assert sources.selected(asked("--from", "r.ndjson", "--task", "abc")).tasks == ("abc",)


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


async def test_the_plan_knows_the_longest_lane(
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
