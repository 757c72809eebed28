"""Webhooks by the SDK and by the `s3` command."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from journeys.service import Service

from s3_sam3 import ApiError, S3Client
from s3_sam3.contracts.errors import ErrorCode
from s3_sam3.contracts.webhooks import DEFAULT_EVENTS, WebhookEvent


URL = "https://receiver.invalid/hooks"


async def test_the_sdk_keeps_a_webhook(s3: S3Client) -> None:
    """A webhook is made, listed, changed, read, given another secret and deleted."""
    made = await s3.webhooks.create(URL, [WebhookEvent.TASK_DONE], description="mine")
    changed = await s3.webhooks.change(made.id, events=["task.failed"], enabled=False)
    secret = (await s3.webhooks.rotate_secret(made.id)).secret

    assert (await s3.webhooks.list()).items == (changed,)
    assert await s3.webhooks.get(made.id) == changed
    assert (changed.url, changed.description, changed.enabled) == (URL, "mine", False)
    assert secret.startswith("whsec_")
    assert secret != made.secret
    assert (await s3.webhooks.delete(made.id)).id == made.id
    with pytest.raises(ApiError) as gone:
        await s3.webhooks.get(made.id)
    assert gone.value.code is ErrorCode.NOT_FOUND


async def test_the_sdk_follows_a_delivery(s3: S3Client) -> None:
    """A test is queued, found among the deliveries, page by page, and sent again."""
    made = await s3.webhooks.create(URL)
    queued = {(await s3.webhooks.test(made.id)).delivery_id for _ in range(2)}
    newest = await s3.webhooks.deliveries(made.id, limit=1)
    oldest = await s3.webhooks.deliveries(made.id, limit=1, cursor=newest.next_cursor)

    assert made.events == DEFAULT_EVENTS
    assert {item.id for page in (newest, oldest) for item in page.items} == queued
    assert oldest.next_cursor is None
    again = await s3.webhooks.redeliver(made.id, newest.items[0].id)
    assert again.delivery_id == newest.items[0].id


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(service: Service, tmp_path: Path) -> Run:
    """Run `s3 …` as a user who has just signed up."""

    def run(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "s3_sam3.cli", *arguments],
            env={**service.environment(tmp_path), **env},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    email = f"w{os.urandom(5).hex()}@example.org"
    made = run("login", "--sign-up", "--email", email, S3_PASSWORD="correct horse")
    assert made.returncode == 0, made.stderr
    return run


def test_the_command_keeps_a_webhook(run: Run) -> None:
    """A webhook is added, listed, tested and removed; a delivery is shown and sent again."""
    made = json.loads(run("webhooks", "add", URL, "--event", "task.done", "--json").stdout)
    delivery = run("webhooks", "test", made["id"]).stdout.strip()
    again = run("webhooks", "redeliver", made["id"], delivery)
    listed = run("webhooks", "list")
    shown = run("webhooks", "deliveries", made["id"])

    assert made["events"] == ["task.done"]
    assert made["id"] in listed.stdout
    assert made["secret"] not in listed.stdout
    assert delivery.startswith("msg_")
    assert delivery in shown.stdout
    assert again.stdout.strip() == delivery
    assert run("webhooks", "remove", made["id"]).returncode == 0
    assert json.loads(run("webhooks", "list", "--json").stdout) == {"items": []}


def test_the_command_prints_the_secret_once(run: Run) -> None:
    """`add` prints it on standard output, and the warning beside it."""
    added = run("webhooks", "add", URL)

    assert "whsec_" in added.stdout
    assert "not shown again" in added.stderr


def test_the_command_says_what_was_refused(run: Run) -> None:
    """A bad address and an unknown id exit 1, with the error's code and no traceback."""
    plain = run("webhooks", "add", "http://receiver.invalid/")
    unknown = run("webhooks", "test", str(uuid.uuid4()))

    assert (plain.returncode, unknown.returncode) == (1, 1)
    assert "invalid_request" in plain.stderr
    assert "not_found" in unknown.stderr
    assert "Traceback" not in plain.stderr + unknown.stderr
