"""
Where a job's time goes: every stage of 200 jobs, one at a time, on the embedded platform.

    python -m bench.latency [--jobs 200] [--quick] [--json FILE] [--weights DIR]

A job runs from the start of its upload until manifest, mask and overlay are in the client's
memory. Database instants (created, started, finished) and the client's clock are one machine's.
"""

import argparse
import asyncio
import secrets
import tempfile
import time
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import httpx
from PIL import Image, ImageDraw
from rich.progress import track
from rich.table import Table

from bench import report
from cli.local import Local, Place, free_port, tiny_weights
from s3_sam3 import S3Client, Session
from s3_sam3.contracts import bodies
from s3_sam3.contracts.tasks import TaskStatus


STAGES = {
    "upload": "picture to the object store, through the API",
    "submit": "row inserted, credits held, answer back",
    "claim": "insert until a worker claimed it",
    "fetch": "worker reads the picture",
    "model": "pipeline: decode, SAM3, masks, overlay",
    "store": "worker writes manifest, mask and overlay",
    "notify": "settled until the client holds the new row",
    "download": "manifest, mask, overlay to the client",
    "whole": "upload begun until results in hand",
    "overhead": "whole minus model",
}
WARM_UP_JOBS = 5


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--quick", action="store_true", help="20 jobs, under a minute")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--weights", type=Path, help="default: the demo model; 'fake:' works too")
    asked = parser.parse_args()
    jobs = 20 if asked.quick else asked.jobs
    times = asyncio.run(_measure(jobs, asked.weights))
    figures = {stage: report.spread(values) for stage, values in times.items()}
    targets = [
        report.Target(name=f"{stage} p50", measured=figures[stage]["p50"], limit=limit, unit="ms")
        for stage, limit in (("claim", 50.0), ("notify", 50.0), ("overhead", 250.0))
    ]
    return report.finish(
        "latency",
        table=_table(figures, jobs),
        targets=targets,
        figures={"jobs": jobs, "milliseconds": figures},
        to=asked.json,
    )


async def _measure(jobs: int, weights: Path | None) -> dict[str, list[float]]:
    weights = weights or await tiny_weights()
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
            local.start_worker(weights)
            await local.start_api()
            await local.model_ready()
            session = await _user_with_credits(local, credits=jobs + WARM_UP_JOBS)
            async with S3Client(session, api_url=local.service.s3_api_url) as s3:
                return await _run(s3, jobs)
        finally:
            await local.stop()


async def _run(s3: S3Client, jobs: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {stage: [] for stage in STAGES}
    for number in track(range(-WARM_UP_JOBS, jobs), description="jobs"):
        times_of_job = await _job(s3, _picture(number))
        if number >= 0:
            for stage, milliseconds in times_of_job.items():
                times[stage].append(milliseconds)
    return times


async def _job(s3: S3Client, picture: bytes) -> dict[str, float]:
    begun = time.perf_counter()
    upload = await s3.upload(picture)
    uploaded = time.perf_counter()
    task = await s3.submit(upload.image_url, "red circle")
    submitted = time.perf_counter()
    last = task
    seen = datetime.now(UTC)
    async for state in s3.watch(task.task_id):
        last, seen = state, datetime.now(UTC)
    ended = time.perf_counter()
    if last.status is not TaskStatus.DONE:
        msg = f"a job ended {last.status}: {last.error}"
        raise RuntimeError(msg)
    found = await s3.fetch(task.task_id)
    fetched = time.perf_counter()
    inner = _worker_times(found.result)
    whole = (fetched - begun) * 1000
    return {
        "upload": (uploaded - begun) * 1000,
        "submit": (submitted - uploaded) * 1000,
        "claim": _between(last.created_at, last.started_at),
        **inner,
        "notify": _between(last.finished_at, seen),
        "download": (fetched - ended) * 1000,
        "whole": whole,
        "overhead": whole - inner["model"],
    }


def _worker_times(result: bodies.ResultDetail) -> dict[str, float]:
    timings = (result.summary or {})["timings"]
    return {stage: float(timings.get(f"{stage}_ms", 0.0)) for stage in ("fetch", "model", "store")}


async def _user_with_credits(local: Local, *, credits: int) -> Session:  # noqa: A002 - the ledger's word
    session = await Session.sign_up(
        supabase_url=local.service.supabase_url,
        anon_key=local.service.supabase_anon_key,
        email=f"bench-{secrets.token_hex(4)}@example.org",
        password=secrets.token_urlsafe(16),
    )
    key = local.env["SUPABASE_SERVICE_KEY"]
    async with httpx.AsyncClient() as http:
        answer = await http.post(
            f"{local.service.supabase_url}/rest/v1/rpc/grant_credits",
            headers={"apikey": key, "Authorization": f"Bearer {key}"},
            json={"p_user_id": session.user_id, "p_credits": credits, "p_reason": "bench"},
        )
        answer.raise_for_status()
    return session


def _picture(number: int) -> bytes:
    """A 640x480 JPEG, a different one for each *number*, so that no upload is already there."""
    image = Image.new("RGB", (640, 480), (60, 70, 80))
    x = 100 + number % 400
    ImageDraw.Draw(image).ellipse((x, 150, x + 120, 270), fill=(215, 40, 40))
    image.putpixel((0, 0), (number % 256, (number // 256) % 256, 0))
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _between(start: datetime | None, end: datetime | None) -> float:
    if start is None or end is None:
        msg = "a done task has all its instants"
        raise RuntimeError(msg)
    return (end - start).total_seconds() * 1000


def _table(figures: dict[str, dict[str, float]], jobs: int) -> Table:
    table = Table(title=f"{jobs} jobs, one at a time, milliseconds", title_justify="left")
    for column in ("stage", "p50", "p95", "max", "what"):
        table.add_column(column, justify="left" if column in {"stage", "what"} else "right")
    for stage, values in figures.items():
        table.add_row(
            stage, *(f"{values[name]:.1f}" for name in ("p50", "p95", "max")), STAGES[stage]
        )
    return table


if __name__ == "__main__":
    raise SystemExit(main())
