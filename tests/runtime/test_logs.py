"""Logs: machine-readable, with the ids that were bound, without secrets."""

import json
import logging
import subprocess
import sys

import pytest

from runtime import logs


JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"
URL = "https://r2/x?X-Amz-Date=1&X-Amz-Signature=0a1b2c3d&X-Amz-Expires=900"

SECRETS = {
    "a header": ({"Authorization": "Bearer abc"}, "abc"),
    "a password": ({"password": "abc"}, "abc"),
    "an api key": ({"apikey": "abc"}, "abc"),
    "an access token": ({"access_token": "abc"}, "abc"),
    "a token in a text": ({"event": f"refused {JWT} here"}, JWT),
    "a signed URL": ({"url": URL}, "0a1b2c3d"),
    "something nested": ({"headers": {"Cookie": "abc"}, "all": [f"Bearer {JWT}"]}, "abc"),
}


@pytest.mark.parametrize("what", SECRETS)
def test_a_secret_is_hidden(what: str) -> None:
    """By its name or by its looks, at any depth."""
    event, secret = SECRETS[what]

    told = json.dumps(logs.redact(None, "info", dict(event)))

    assert secret not in told
    assert JWT not in told


def test_what_is_no_secret_stays() -> None:
    """A fencing token is a number that operators need."""
    event = {"event": "task_claimed", "token": 17, "task_id": "x", "path": "/api/v1/me"}

    assert logs.redact(None, "info", dict(event)) == event


def test_a_signed_url_stays_readable_but_for_its_signature() -> None:
    """What was asked remains to be seen."""
    told = logs.redact(None, "info", {"url": URL})["url"]

    assert told == URL.replace("0a1b2c3d", "***")


PROGRAM = """
import logging
from runtime import logs
logs.configure("json")
with logs.bound(task_id="t1"):
    logs.get_logger("ours").info("task_claimed", token=1)
    logging.getLogger("theirs").warning("said %s", "so")
    logging.getLogger("httpx").info("every request")
try:
    raise ValueError("Bearer abcdef")
except ValueError:
    logs.get_logger("ours").exception("failed")
"""


def test_every_line_is_json_with_the_bound_ids() -> None:
    """Our lines and the libraries' have one form; talkative ones are quiet; tracebacks too."""
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )

    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    assert [line["event"] for line in lines] == ["task_claimed", "said so", "failed"]
    assert [line.get("task_id") for line in lines] == ["t1", "t1", None]
    assert all(line["timestamp"] and line["logger"] for line in lines)
    assert "ValueError" in lines[2]["exception"]
    assert "abcdef" not in ended.stderr


def test_levels_of_talkative_libraries_are_known_to_logging() -> None:
    """The names we quieten are the names that those libraries log under."""
    import boto3  # noqa: F401 - makes its logger
    import httpx  # noqa: F401 - makes its logger

    assert {"httpx", "boto3"} <= set(logging.Logger.manager.loggerDict)
