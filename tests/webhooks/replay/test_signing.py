"""What a verifier makes of each kind of signature."""

import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from failing_receiver import SECRET, Receiver, Replay, message
from standardwebhooks import Webhook

from s3_sam3 import signatures
from s3_sam3.messages import Message


OLD = 3600


def delivered(each: Message) -> Message:
    """The message with the headers that it had an hour ago."""
    then = int(time.time()) - OLD
    headers = signatures.signed_headers([SECRET], each.id, then, each.body)
    return dataclasses.replace(
        each, headers=(("Content-Type", "application/json"), *headers.items(), ("Host", "old"))
    )


@pytest.mark.parametrize(
    ("given", "code", "refusals"),
    [
        ((), 0, []),
        (("--preserve",), 1, [signatures.OldTimestamp]),
        (("--sign", "bad"), 1, [signatures.WrongSignature]),
        (("--sign", "none"), 1, [signatures.MissingHeader]),
        (("--truncate", "1"), 1, [signatures.WrongSignature]),
    ],
)
async def test_only_a_fresh_signature_passes_the_verifier(
    replay: Replay,
    receiver: Receiver,
    recorded: Callable[..., Path],
    given: tuple[str, ...],
    code: int,
    refusals: list[type[Exception]],
) -> None:
    """Fresh passes; the recorded bytes are too old; a bad, no, or torn signature is refused."""
    path = recorded(delivered(message()))

    ran = await replay("--from", str(path), "--target", receiver.url, "--yes", *given)

    assert ran.code == code, ran.err
    assert [type(error) for error in receiver.refused] == refusals


async def test_preserve_sends_the_recorded_bytes_and_headers(
    replay: Replay, receiver: Receiver, recorded: Callable[..., Path]
) -> None:
    """Nothing is added but what a connection needs, and the body is the same to the byte."""
    body = b'{ "type" : "task.done",  "data":{"task_id":"\\u00e9"} }'
    sent = delivered(message(body=body))

    await replay("--from", str(recorded(sent)), "--target", receiver.url, "--yes", "--preserve")

    headers, got = receiver.requests[0]
    assert got == body
    host = receiver.url.split("/")[2]
    wanted = {**dict(sent.headers), "Host": host, "Content-Length": str(len(body))}
    assert headers == wanted


async def test_a_fresh_one_passes_the_specifications_own_verifier(
    replay: Replay, receiver: Receiver, recorded: Callable[..., Path]
) -> None:
    """The PyPI library `standardwebhooks` accepts it; id and body are the recorded ones."""
    sent = message()
    ran = await replay("--from", str(recorded(sent)), "--target", receiver.url, "--yes", "--json")

    headers, body = receiver.requests[0]
    lower = {name.lower(): value for name, value in headers.items()}
    assert Webhook(SECRET).verify(body.decode(), lower) == json.loads(sent.body)
    assert lower["webhook-id"] == sent.id
    assert lower["webhook-replay"] == ran.document["plan"]["run"]


@pytest.mark.parametrize(
    ("given", "env"),
    [((), {"REPLAY_SECRET": ""}), (("--secret", "hush"), {}), (("--preserve",), {})],
)
async def test_what_cannot_be_signed_is_a_usage_error(
    replay: Replay,
    receiver: Receiver,
    recorded: Callable[..., Path],
    given: tuple[str, ...],
    env: dict[str, str],
) -> None:
    """No secret, a misspelled one, nothing to preserve: exit 2 before anything is sent."""
    path = recorded(message())

    ran = await replay("--from", str(path), "--target", receiver.url, "--yes", *given, **env)

    assert ran.code == 2
    assert receiver.requests == []
