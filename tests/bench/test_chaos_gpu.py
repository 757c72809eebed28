"""The chaos bench's GPU tells how far it is, and how much memory it has; the audit sees both."""

import asyncio
import json
from collections import Counter
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer

from bench.chaos import books, fake_gpu, stage
from s3_sam3.contracts import pipeline


async def ask(client: Any, *texts: str) -> tuple[int, Any]:
    """Ask for these words in a picture, under the name `7`; the status, and an error's body."""
    form = aiohttp.FormData()
    form.add_field(pipeline.REQUEST_PART, json.dumps({"prompts": [{"text": one} for one in texts]}))
    form.add_field(pipeline.IMAGE_PART, b"picture", filename="picture")
    headers = {pipeline.REQUEST_ID_HEADER: "7"}
    async with client.post("/api/v1/predict", data=form, headers=headers) as answer:
        return answer.status, None if answer.status == 200 else await answer.json()


async def test_it_tells_how_many_prompts_are_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prompt by prompt while it works, and nothing afterwards: so a cancel half-way costs half."""
    monkeypatch.setattr(fake_gpu, "SLOW_SECONDS", (0.6, 0.6))
    seen = []
    async with TestClient(TestServer(fake_gpu.application("key", 0))) as client:
        working = asyncio.create_task(ask(client, "slow a", "slow b", "slow c"))
        while not working.done():
            async with client.get("/api/v1/progress/7") as answer:
                if answer.status == 200:
                    seen.append((await answer.json())["computed"])
        async with client.get("/api/v1/progress/7") as answer:
            assert answer.status == 404
    assert (await working)[0] == 200
    assert seen == sorted(seen)
    assert set(seen) == {0, 1, 2}


@pytest.mark.parametrize(
    ("memory_mb", "status"), [(fake_gpu.BIG_MB - 1, 503), (fake_gpu.BIG_MB, 200)]
)
async def test_what_is_big_needs_memory(memory_mb: int, status: int) -> None:
    """A small one runs out of memory and says how much it has, so the ladder has a next step."""
    async with TestClient(TestServer(fake_gpu.application("key", memory_mb))) as client:
        found, body = await ask(client, "big a")
        async with client.get("/health") as answer:
            health = pipeline.HealthAnswer.model_validate(await answer.json())
    assert found == status
    assert status == 200 or body["error"]["code"] == "out_of_memory"
    assert health.model is not None
    assert health.model.memory_mb == memory_mb


def test_somebody_has_the_memory_that_big_needs() -> None:
    """Even the two GPUs of a short run are one that can and one that cannot."""
    can = [memory_mb >= fake_gpu.BIG_MB for memory_mb in stage.MEMORY_MB]
    assert can == [True, False, False, False]


def kept(*actions: str, code: str | None = None) -> books.Books:
    """Books of one done task with these ledger rows."""
    return books.Books(
        rows={"t": {"status": "done"}},
        attempts={"t": [{"error_code": code}]},
        ledger={"t": Counter(actions)},
        entries={"t": Counter(actions)},
        mismatches=[],
    )


def test_a_settlement_in_part_is_counted() -> None:
    """A capture with a remainder is one; a whole capture and a release are none."""
    assert books.settled_in_part(kept("hold", "capture", "remainder")) == ["t"]
    assert books.settled_in_part(kept("hold", "capture")) == []
    assert books.settled_in_part(kept("hold", "release")) == []


def test_a_climb_is_counted() -> None:
    """Done after an attempt that ran out of memory."""
    assert books.climbed(kept("hold", code="out_of_memory")) == ["t"]
    assert books.climbed(kept("hold")) == []


def test_a_deadlock_in_the_log_is_seen() -> None:
    """As PostgreSQL writes it, to every reader, also when they tried again."""
    line = "2026-11-26 18:06:13.440 UTC [13834] ERROR:  deadlock detected"
    log = f"LOG:  ready\n{line}\nDETAIL:  Process 13834 waits for ShareLock\n"
    assert stage.deadlocks_in(log) == [line]
    assert stage.deadlocks_in("LOG:  ready\n") == []
