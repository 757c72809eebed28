"""The SDK's README does what it shows."""

import ast
import base64
import inspect
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from journeys.service import Service
from pictures import shapes
from standardwebhooks import Webhook

from s3_sam3 import S3Client, Segmentation, Session
from s3_sam3.contracts import webhooks


SECRET = f"whsec_{base64.b64encode(bytes(24)).decode()}"
README = Path(__file__).parents[2] / "sdk/s3_sam3/README.md"


async def run(block: str, names: dict[str, Any]) -> None:
    """Run a block of Python with `await` at its top level."""
    code = compile(block, str(README), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    waiting = eval(code, names)
    if inspect.iscoroutine(waiting):
        await waiting


async def test_each_snippet_runs(
    service: Service, s3: S3Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The snippets run one after the other, as a reader would try them."""
    for name, value in service.settings.model_dump().items():
        monkeypatch.setenv(name.upper(), value)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bus.jpg").write_bytes(shapes())
    await Session.sign_up(
        supabase_url=service.settings.supabase_url,
        anon_key=service.settings.supabase_anon_key,
        email="ada@example.org",
        password="correct horse",
    )
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    names: dict[str, Any] = {}

    for block in blocks:
        if "verify(" in block:
            body = event_about(names["found"])
            names |= {"secret": SECRET, "raw_body": body, "headers": signed(body)}
        await run(block, names)
        names["s3"] = s3  # the first snippet closes its own

    assert len(blocks) == 6
    assert names["event"].type == "task.done"
    assert {path.name for path in tmp_path.glob("*/*")} >= {"manifest.json", "data.yaml"}  # noqa: ASYNC240


def event_about(found: Segmentation) -> bytes:
    """The body of the webhook that tells of a done task."""
    data = webhooks.TaskEventData.model_validate(found.result.model_dump())
    event = webhooks.TaskEvent(
        type=webhooks.WebhookEvent.TASK_DONE, timestamp=datetime.now(UTC), data=data
    )
    return event.model_dump_json().encode()


def signed(body: bytes) -> dict[str, str]:
    """The headers of a delivery sent now."""
    now = datetime.now(UTC)
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(SECRET).sign("msg_1", now, body.decode()),
    }
