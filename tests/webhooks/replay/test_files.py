"""Files that a killed process left: recordings and checkpoints."""

import dataclasses
import json
import re
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from failing_receiver import Receiver, Replay, message

from s3_sam3 import recordings
from s3_sam3.messages import Attempt, DeliveryState
from s3_sam3.recordings import RecordingError
from webhooks.replay import UsageError
from webhooks.replay.checkpoint import Checkpoint
from webhooks.replay.report import compared


OK = Attempt(status=200, latency_ms=5, answer=b'{"ok":true}')


def test_a_recording_gives_back_the_bytes(tmp_path: Path) -> None:
    """Any body and any header value comes back as it was, with the last attempt at its id."""
    path = tmp_path / "r.ndjson"
    sent = message(
        body=bytes(range(256)), type="unknown", key="msg_1", id="msg_1", headers=(("A", "\xe9"),)
    )
    with recordings.Recording(path) as file:
        file.request("n1", sent)
        file.attempt("n1", OK)

    (found,) = recordings.read(path)
    assert found == dataclasses.replace(sent, last=OK)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


NAMES = [
    *("Authorization", "APIKEY", "Cookie", "X-Api-Key", "x_api_key", "X-Gitlab-Token", "X-Auth"),
    *("x-auth-token", "x-webhook-secret", "X-Password", "X-Amz-Credential", "X-Session-Id"),
]


@pytest.mark.parametrize("name", NAMES)
def test_secrets_of_requests_are_not_written_down(tmp_path: Path, name: str) -> None:
    """Headers and query parameters that look like one, in any case of letters."""
    path = tmp_path / "r.ndjson"
    url = f"https://example.com/hook?a=1&{name}=s3cr3t&b=2"
    with recordings.Recording(path) as file:
        file.request("n1", message(headers=((name, "s3cr3t"),), url=url), path=url)

    assert "s3cr3t" not in path.read_text()
    (found,) = recordings.read(path)
    assert found.url == f"https://example.com/hook?a=1&{name}=[redacted]&b=2"


def test_without_the_pattern_they_are_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: it is the names that keep them out."""
    monkeypatch.setattr(recordings, "_SECRET_NAME", re.compile("(?!)"))
    path = tmp_path / "r.ndjson"
    with recordings.Recording(path) as file:
        file.request("n1", message(headers=tuple((name, "s3cr3t") for name in NAMES)))

    assert path.read_text().count("s3cr3t") == len(NAMES)


def test_what_the_operator_names_is_not_written_down(tmp_path: Path) -> None:
    """--redact; signatures, and what does not look secret, stay."""
    path = tmp_path / "r.ndjson"
    kept = (("webhook-signature", "v1,abc"), ("webhook-id", "msg_1"), ("x-other", "o"))
    with recordings.Recording(path, ["X-Mine"]) as file:
        file.request("n1", message(headers=(("x-mine", "s3cr3t"), *kept)))

    (found,) = recordings.read(path)
    assert found.headers == (("x-mine", "[redacted]"), *kept)


async def test_a_url_without_its_secret_is_no_target(
    replay: Replay, receiver: Receiver, recorded: Callable[..., Path]
) -> None:
    """Exit 2, and the message asks for --target; control: with it the message is sent."""
    path = recorded(message(url=f"{receiver.url}?token=s3cr3t"))

    ran = await replay("--from", str(path), "--yes", "--target-allow", "127.0.0.1")
    assert (ran.code, "Give --target" in ran.err) == (2, True)

    ran = await replay("--from", str(path), "--yes", "--json", "--target", f"{receiver.url}?key=k1")
    assert ran.code == 0
    assert ran.document["attempts"][0]["url"] == f"{receiver.url}?key=[redacted]"


def test_a_torn_last_line_is_as_if_never_written(tmp_path: Path) -> None:
    """Cut anywhere in its last line, a recording reads as without it, and can be extended."""
    path, whole = tmp_path / "r.ndjson", tmp_path / "whole.ndjson"
    first, second, third = message(), message(), message()
    with recordings.Recording(whole) as file:
        file.request("1", first)
        file.request("2", second)
    data = whole.read_bytes()
    end_of_first = data.index(b"\n") + 1
    for cut in range(end_of_first, len(data) - 1, 37):
        path.write_bytes(data[:cut])
        assert [each.id for each in recordings.read(path)] == [first.id]
        with recordings.Recording(path) as file:
            file.request("3", third)
        assert [each.id for each in recordings.read(path)] == [first.id, third.id]


def test_a_last_line_without_its_end_is_kept_if_it_is_whole(
    recorded: Callable[..., Path],
) -> None:
    """An editor that writes no newline at the end costs no message."""
    sent = [message() for _ in range(3)]
    path = recorded(*sent)
    path.write_bytes(path.read_bytes().removesuffix(b"\n"))

    with recordings.Recording(path) as file:
        file.request("n4", more := message())

    assert [each.id for each in recordings.read(path)] == [each.id for each in (*sent, more)]


@pytest.mark.parametrize(
    "text",
    ['{"precious": 1}', '{"precious": 1}\n', "notes\n", "notes", "[1]\n", "\n\nnotes\nof mine"],
)
def test_another_file_is_left_as_it_is(tmp_path: Path, text: str) -> None:
    """Not a byte is taken or added, whether or not its last line has an end."""
    path = tmp_path / "notes.json"
    path.write_text(text)

    with pytest.raises(RecordingError, match="no recording"):
        recordings.Recording(path)

    assert path.read_text() == text


def test_a_file_that_cannot_be_written_is_a_usage_error(tmp_path: Path) -> None:
    """A folder, say."""
    with pytest.raises(RecordingError, match="cannot be written"):
        recordings.Recording(tmp_path)


def test_a_file_that_is_no_recording_is_named(tmp_path: Path) -> None:
    """The message says which line."""
    path = tmp_path / "r.ndjson"
    path.write_text('{"v":1}\n{}\n')

    with pytest.raises(RecordingError, match="line 1"):
        recordings.read(path)


def test_a_request_without_an_answer_was_never_answered(
    recorded: Callable[..., Path],
) -> None:
    """What the recorder could not forward any more counts as missing."""
    (found,) = recordings.read(recorded(message(last=None)))

    assert found.state is DeliveryState.MISSING


def test_a_checkpoint_cut_anywhere_loses_no_message(tmp_path: Path) -> None:
    """In each prefix of the file only what was answered 2xx or dropped is done."""
    checkpoint = Checkpoint.create(tmp_path, "run-1", {"source": "outbox"}, ["a", "b", "c", "d"])
    (path,) = tmp_path.iterdir()
    start = path.stat().st_size
    checkpoint.note("a#0", "a", OK)
    checkpoint.note("b#0", "b", Attempt(status=500, latency_ms=1))
    checkpoint.note("c#0", "c", None)
    checkpoint.close()
    data = path.read_bytes()
    seen: list[set[str]] = []
    for cut in range(start, len(data) + 1):
        path.write_bytes(data[:cut])
        again = Checkpoint(path)
        assert again.ids == ("a", "b", "c", "d")
        if seen[-1:] != [again.done]:
            seen.append(set(again.done))
        again.note("d#0", "d", OK)
        again.close()
        last = Checkpoint(path)
        assert last.done == seen[-1] | {"d#0"}
        last.close()
    assert seen == [set(), {"a#0"}, {"a#0", "c#0"}]


def test_a_run_belongs_to_one_process(tmp_path: Path) -> None:
    """A second process is refused while the first works on it."""
    first = Checkpoint.create(tmp_path, "run-1", {}, [])

    with pytest.raises(UsageError, match="Another process"):
        Checkpoint(tmp_path / "run-1.ndjson")
    first.close()


@pytest.mark.parametrize(
    ("before", "after", "body"),
    [
        (b'{"a":1,"b":2}', b'{"b":2,"a":1}', ()),
        (b'{"a":1}', b'{"a":2}', ("$.a: 1 -> 2",)),
        (b'{"a":[1,{"b":2}]}', b'{"a":[1,{"b":3}]}', ("$.a[1].b: 2 -> 3",)),
        (b'{"a":1}', b"{}", ("$.a: 1 -> null",)),
        (b'{"a":1}', b'{"a":true}', ("$.a: 1 -> true",)),
        (b"<p>no</p>", b"<p>yes</p>", ("text: '<p>no</p>' -> '<p>yes</p>'",)),
        (b'{"cut":"he', b'{"cut":"here"}', ()),
        (b"", b"", ()),
    ],
)
def test_bodies_are_compared_as_json(before: bytes, after: bytes, body: tuple[str, ...]) -> None:
    """By path where both are JSON; else as text, as far as it was kept."""
    diff = compared(
        Attempt(status=200, latency_ms=1, answer=before),
        Attempt(status=200, latency_ms=2, answer=after),
    )

    assert diff.body == body
    assert diff.same is (body == ())


async def test_diff_shows_what_the_receiver_does_differently_now(
    replay: Replay, receiver: Receiver, recorded: Callable[..., Path]
) -> None:
    """Status, body and latency of both attempts."""
    arguments = ("--target", receiver.url, "--yes", "--diff")
    path = recorded(message())

    ran = await replay("--from", str(path), *arguments, "--json")
    told = await replay("--from", str(path), *arguments)

    diff = ran.document["attempts"][0]["diff"]
    assert ran.document["differing"] == 1
    assert diff["status"] == ["503", "200"]
    assert diff["body"] == ["$.ok: false -> true"]
    assert diff["latency_ms"][0] == 20
    assert "status: 503 -> 200" in told.out


async def test_a_recorded_replay_can_be_replayed(
    replay: Replay, receiver: Receiver, recorded: Callable[..., Path], tmp_path: Path
) -> None:
    """--record writes what --from reads: same id, key and body, with the new attempt."""
    sent, log = message(), tmp_path / "log.ndjson"

    await replay(
        *("--from", str(recorded(sent)), "--target", receiver.url, "--yes"),
        *("--record", str(log), "--header", "x-static: hidden-value"),
    )

    (found,) = recordings.read(log)
    assert (found.id, found.key, found.body) == (sent.id, sent.key, sent.body)
    assert found.state is DeliveryState.OK
    assert "hidden-value" not in log.read_text()
    assert json.loads(log.read_text())["url"] == receiver.url
