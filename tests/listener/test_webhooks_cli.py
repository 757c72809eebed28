"""What an operator says of webhooks on the command line, and what a worker's programs learn."""

import json
import os
import subprocess
import sys
import uuid
from typing import Any

import psycopg

from cli.worker import ONLY, Device, programs
from devstack.testing import Stack
from s3_sam3 import signatures


SECRETS = {
    "LISTENER_WEBHOOK_PORT": "9000",
    "LISTENER_WEBHOOK_SECRETS": "whsec_b3Vycw==",
    "LISTENER_WEBHOOK_SHARED_SECRET": "of the dashboard",
}


def s3(stack: Stack, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`s3 …` as an operator runs it."""
    return subprocess.run(
        [sys.executable, "-m", "s3_sam3.cli", *arguments],
        env={
            **os.environ,
            "SUPABASE_URL": stack.url,
            "SUPABASE_SERVICE_KEY": stack.service_key,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


async def test_a_listener_is_added_and_removed(
    stack: Stack, db: psycopg.AsyncConnection[Any]
) -> None:
    """`s3 add-listener` prints what the host must hold; again, the same; rotated, another."""
    name = f"listener-{uuid.uuid4().hex[:8]}"
    added = s3(stack, "add-listener", name, "https://gpu.example/", "--json")
    again = s3(stack, "add-listener", name, "https://gpu.example:8443/webhooks/supabase")
    assert added.returncode == 0, added.stderr
    given = json.loads(added.stdout)

    assert given["url"] == "https://gpu.example/webhooks/supabase"
    assert signatures.check_secret(given["LISTENER_WEBHOOK_SECRETS"])
    assert again.stdout.strip() == f"LISTENER_WEBHOOK_SECRETS={given['LISTENER_WEBHOOK_SECRETS']}"
    assert await _urls(db, name) == ["https://gpu.example:8443/webhooks/supabase"]

    rotated = s3(stack, "add-listener", name, "https://gpu.example", "--rotate", "--json")
    renewed = json.loads(rotated.stdout)["LISTENER_WEBHOOK_SECRETS"]
    assert renewed != given["LISTENER_WEBHOOK_SECRETS"]
    assert signatures.check_secret(renewed)

    assert s3(stack, "remove-listener", name).returncode == 0
    assert await _urls(db, name) == []
    assert s3(stack, "remove-listener", name).returncode == 1


async def _urls(db: psycopg.AsyncConnection[Any], name: str) -> list[str]:
    cursor = await db.execute(
        "select url from segmentation.wake_targets where wake_targets.name = %s", [name]
    )
    return [url for (url,) in await cursor.fetchall()]


def test_devices_take_webhooks_on_ports_of_their_own() -> None:
    """Several listeners on one host do not meet on a port; without one there is none."""
    ports = [
        programs(SECRETS, Device(name="cpu", number=place))[1].env.get("LISTENER_WEBHOOK_PORT")
        for place in (0, 1)
    ]

    assert ports == ["9000", "9001"]
    assert "LISTENER_WEBHOOK_PORT" not in programs({}, Device(name="cpu", number=1))[1].env


def test_the_model_does_not_learn_the_webhooks_secrets() -> None:
    """The pipeline's process gets none of them; the listener's gets them."""
    pipeline, listener = programs(SECRETS, ONLY)

    for name in ("LISTENER_WEBHOOK_SECRETS", "LISTENER_WEBHOOK_SHARED_SECRET"):
        assert pipeline.env[name] == ""
        assert listener.env[name] == SECRETS[name]
