"""The audit of the object store: every result is there, answers its task, and nothing else is."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from adapters.objects import ObjectNotFound
from bench.chaos.books import Books, winner
from bench.chaos.fake_gpu import score
from bench.chaos.observer import Observer
from bench.chaos.stage import Stage
from s3_sam3.contracts.manifest import Manifest


OUTBOX_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What lay in the bucket under `results/`."""

    before: int
    """Objects that no row needs, before the janitor came."""
    after: int
    """And after it had swept."""


async def sweep(stage: Stage, books: Books) -> Swept:
    """Let the janitor work the outbox off and sweep, and count by a rule of our own."""
    before = len(await _orphans(stage, books))
    async with _janitor(stage):
        await _outbox_empty(stage.observer)
    await _run(stage, "sweep", "--yes", "--older-than", "0s", "--json")
    return Swept(before=before, after=len(await _orphans(stage, books)))


async def _orphans(stage: Stage, books: Books) -> list[str]:
    """Result objects that are not of the attempt that a done row shows."""
    shown = {
        f"results/{row['user_id']}/{task}/{winner(row)}/"
        for task, row in books.rows.items()
        if row["status"] == "done"
    }
    return [
        item.key
        async for page in stage.store.pages("results/")
        for item in page
        if item.key.rpartition("/")[0] + "/" not in shown
    ]


async def wrong_manifests(stage: Stage, books: Books, pictures: Mapping[str, bytes]) -> list[str]:
    """Done tasks whose objects are missing or answer something else than their own prompts."""
    slots = asyncio.Semaphore(8)

    async def judge(row: Mapping[str, Any]) -> str | None:
        async with slots:
            try:
                manifest = Manifest.model_validate_json(await stage.store.get(row["manifest_url"]))
                for key in ("mask_image_url", "overlay_image_url"):
                    await stage.store.head(row[key])
            except ObjectNotFound:
                return str(row["id"])
        picture = pictures[row["source_image_url"]]
        found = [(one.text, one.instances[0].score) for one in manifest.prompts]
        wanted = [(text, score(picture, text)) for text in _texts(row)]
        return None if found == wanted else str(row["id"])

    done = [row for row in books.rows.values() if row["status"] == "done"]
    verdicts = await asyncio.gather(*(judge(row) for row in done))
    return [task for task in verdicts if task is not None]


def _texts(row: Mapping[str, Any]) -> list[str]:
    return [prompt["text"] for prompt in row["prompts"]]


async def _outbox_empty(observer: Observer) -> None:
    """Wait for what is due now; make due what waits for zombies, who are all dead."""
    await observer.rows(
        "update segmentation.object_deletions set due_at = now() where done_at is null"
    )

    async def empty() -> bool:
        return not await observer.one(
            "select count(*) from segmentation.object_deletions where done_at is null"
        )

    await observer.until(empty, OUTBOX_SECONDS)


@contextlib.asynccontextmanager
async def _janitor(stage: Stage) -> AsyncIterator[None]:
    """`python -m janitor`, at work."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "janitor"),
        env={**os.environ, **stage.stack.env},
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()


async def _run(stage: Stage, *arguments: str) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "s3_sam3.cli", "janitor", *arguments),
        env={**os.environ, **stage.stack.env},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    said, _ = await process.communicate()
    report: dict[str, Any] = json.loads(said)
    return report
