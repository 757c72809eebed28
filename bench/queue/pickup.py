"""
How long a new task waits for a worker, by what woke it: a hint over Realtime, or the poll.

The real thing: the embedded platform, one listener process that signs in as a machine, and the
fake model. A task's wait is `started_at - created_at`, both of the database's clock; the
source is what the listener logged at the claim. For the poll, the triggers that send hints are
off. Tasks come at random moments, and there is mostly room for them.
"""

import asyncio
import json
import random
import secrets
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path

import httpx
from PIL import Image
from rich.table import Table

from adapters.objects import ObjectStore
from bench import report
from bench.queue.server import Connection, connected
from cli.local import Local, Place, free_port
from s3_sam3 import Session


FAKE_MODEL = Path("fake:")
ROOM = 32

Waits = dict[str, list[float]]
"""Milliseconds by source."""

DEAFEN = (
    b"alter table public.segmentation_results"
    b" disable trigger segmentation_results_c_wake_on_insert,"
    # A task that comes back would wake the listener for those that wait.
    b" disable trigger segmentation_results_c_wake_on_return"
)
FINISHED = "select count(*) from public.segmentation_results where finished_at is null"


async def measure(*, tasks: int, poll_seconds: float, gap_seconds: float) -> Waits:
    """Submit *tasks* tasks with hints and as many without, *gap_seconds* apart on average."""
    async with platform() as local, connected(local.env["SUPABASE_DB_URL"]) as db:
        await start_listener(local, poll_seconds=poll_seconds)
        session = await signed_up(local)
        keys = await pictures(local, session, 2 * tasks)
        async with client(local, await session.access_token()) as http:
            await submit(http, keys[:tasks], gap_seconds)
            await finished(db)
            await db.execute(DEAFEN)
            await submit(http, keys[tasks:], gap_seconds)
            await finished(db)
        return await waits_by_source(db, sources(local))


@asynccontextmanager
async def platform() -> AsyncIterator[Local]:
    """The embedded platform, without workers."""
    with tempfile.TemporaryDirectory(prefix="s3-bench-") as state:
        place = Place(
            state=Path(state),
            platform_port=free_port(),
            api_port=free_port(),
            pipeline_port=free_port(),
            quiet=True,
        )
        local = Local(place, note=print)
        try:
            await local.start_platform()
            yield local
        finally:
            await local.stop()


async def start_listener(local: Local, *, poll_seconds: float, **settings: str) -> None:
    """One listener with the fake model, and more *settings* of the environment."""
    own = {
        "LISTENER_CONCURRENCY": str(ROOM),
        "LISTENER_POLL_SECONDS": str(poll_seconds),
        "S3_LOG_FORMAT": "json",
        **settings,
    }
    local.start_worker(FAKE_MODEL, own)
    await local.model_ready()


async def signed_up(local: Local) -> Session:
    """A user without bounds."""
    session = await Session.sign_up(
        supabase_url=local.env["SUPABASE_URL"],
        anon_key=local.env["SUPABASE_ANON_KEY"],
        email=f"bench-{secrets.token_hex(4)}@example.org",
        password=secrets.token_urlsafe(16),
    )
    async with connected(local.env["SUPABASE_DB_URL"]) as db:
        await db.execute("select public.set_user_tier(%s, 'internal')", [session.user_id])
        await db.execute("select public.grant_credits(%s, 100000, 'bench')", [session.user_id])
    return session


async def pictures(local: Local, session: Session, count: int) -> list[str]:
    """A picture for each task: tasks at the same picture would be claimed together."""
    buffer = BytesIO()
    Image.new("RGB", (64, 48), (60, 70, 80)).save(buffer, "PNG")
    async with ObjectStore(
        endpoint=local.env["R2_ENDPOINT"],
        access_key_id=local.env["R2_ACCESS_KEY_ID"],
        secret_access_key=local.env["R2_SECRET_ACCESS_KEY"],
        bucket=local.env["R2_BUCKET"],
    ) as store:
        keys = [f"uploads/{session.user_id}/{number:064x}.png" for number in range(count)]
        for key in keys:
            await store.put(key, buffer.getvalue(), "image/png")
    return keys


def client(local: Local, access_token: str) -> httpx.AsyncClient:
    """PostgREST, as that user."""
    return httpx.AsyncClient(
        base_url=local.env["SUPABASE_URL"],
        headers={
            "apikey": local.env["SUPABASE_ANON_KEY"],
            "Authorization": f"Bearer {access_token}",
        },
    )


async def submit(http: httpx.AsyncClient, keys: list[str], gap_seconds: float) -> None:
    """Submit a task for each picture, at random moments *gap_seconds* apart on average."""
    for key in keys:
        # Not in step with the poll.
        await asyncio.sleep(random.expovariate(1 / gap_seconds))
        answer = await http.post(
            "/rest/v1/rpc/submit_task",
            json={"p_source_image_url": key, "p_prompts": [{"text": "cat"}]},
        )
        answer.raise_for_status()


async def finished(db: Connection) -> None:
    """Wait until no task is left. Raises: TimeoutError."""
    async with asyncio.timeout(120.0):
        while (await (await db.execute(FINISHED)).fetchone()) != (0,):  # noqa: ASYNC110  PostgreSQL sets no event
            await asyncio.sleep(0.1)


def sources(local: Local) -> dict[str, str]:
    """Task to the source of its first claim, as the listener logged it."""
    log = local.place.log("listener")
    assert log is not None
    lines = (json.loads(line) for line in log.read_text().splitlines() if line.startswith("{"))
    sources: dict[str, str] = {}
    for line in lines:
        if line.get("event") == "task_claimed":
            sources.setdefault(line["task_id"], line["source"])
    return sources


async def waits_by_source(db: Connection, sources: dict[str, str]) -> Waits:
    """Milliseconds from insert to claim of every task that is done."""
    cursor = await db.execute(
        "select id, extract(epoch from started_at - created_at) * 1000"
        " from public.segmentation_results where status = 'done'"
    )
    waits: Waits = {}
    for task_id, milliseconds in await cursor.fetchall():
        waits.setdefault(sources[str(task_id)], []).append(float(milliseconds))
    return waits


def figures(waits: Waits) -> dict[str, dict[str, float]]:
    """What the JSON keeps: count, and p50, p95, p99 in milliseconds."""
    return {
        source: {
            "tasks": len(values),
            "p50": round(report.percentile(values, 0.50), 2),
            "p95": round(report.percentile(values, 0.95), 2),
            "p99": round(report.percentile(values, 0.99), 2),
        }
        for source, values in sorted(waits.items())
    }


def targets(waits: Waits, *, poll_seconds: float) -> list[report.Target]:
    """The claim's own target of `bench.latency`, and a poll that comes when it should."""
    return [
        report.Target(
            name="pick-up after a hint, p50",
            measured=report.percentile(waits["hint"], 0.5),
            limit=50.0,
            unit="ms",
        ),
        report.Target(
            # The clock waits 0.5 to 1.3 times what is set; the rest is the claim.
            name="pick-up by the poll alone, p99",
            measured=report.percentile(waits["poll"], 0.99),
            limit=poll_seconds * 1300 + 1000,
            unit="ms",
        ),
    ]


def table(waits: Waits, *, poll_seconds: float) -> Table:
    """One line per source."""
    shown = Table(
        title=f"pick-up in milliseconds, polls every {poll_seconds:g} s on average",
        title_justify="left",
    )
    shown.add_column("source")
    for column in ("tasks", "p50", "p95", "p99"):
        shown.add_column(column, justify="right")
    for source, numbers in figures(waits).items():
        shown.add_row(
            source,
            f"{numbers['tasks']}",
            *(f"{numbers[name]:.1f}" for name in ("p50", "p95", "p99")),
        )
    return shown
