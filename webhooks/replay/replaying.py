"""`s3 replay`: from the command line to the run."""

import argparse
import contextlib
from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path

from webhooks.replay import arguments, recording
from webhooks.replay.checkpoint import Checkpoint, new_run, path_of
from webhooks.replay.job import Job, job_of
from webhooks.replay.lanes import Order
from webhooks.replay.pace import Breaker, Pace
from webhooks.replay.report import Report
from webhooks.replay.run import Run
from webhooks.replay.sending import Sender
from webhooks.replay.settings import ReplaySettings


class Ended(IntEnum):
    """Exit codes; wrong settings are 78, as everywhere."""

    GOOD = 0
    FAILED = 1
    USAGE = 2
    PLAN_ONLY = 3
    UNREACHABLE = 4
    INTERRUPTED = 130


async def replay(argv: Sequence[str], asked: argparse.Namespace, own: ReplaySettings) -> Ended:
    """Plan, and with --yes send. Raises: UsageError, RestError, SettingsError."""
    report = Report(as_json=asked.json, diff=asked.diff)
    if asked.resume:
        resumed = Checkpoint(path_of(own.replay_state_dir, asked.resume))
        with contextlib.closing(resumed):
            again = arguments.parsed(["send", *resumed.arguments, *argv])
            report = Report(as_json=again.json, diff=again.diff)
            job = await job_of(again, own, resumed.run, resumed)
            return await _send_or_show(job, resumed, report)
    job = await job_of(asked, own, new_run(), None)
    plan = job.plan
    if not asked.yes:
        return await _send_or_show(job, None, report)
    keep = [*arguments.kept(argv), *_absolute(asked)]
    ids = [message.id for message in job.messages]
    checkpoint = Checkpoint.create(own.replay_state_dir, plan.run, keep, ids)
    with contextlib.closing(checkpoint):
        return await _send_or_show(job, checkpoint, report)


async def _send_or_show(job: Job, checkpoint: Checkpoint | None, report: Report) -> Ended:
    plan = job.plan
    report.plan(plan)
    # A script that looks at the exit code must not take it for a success that all was left out.
    if checkpoint is None or not job.asked.yes or plan.all_left_out:
        report.end(plan, sent=False)
        return Ended.PLAN_ONLY
    try:
        await _send(job, checkpoint, report)
    except BaseException:
        # Ctrl-C, or a fault of ours: the checkpoint is right all the same.
        report.resumable(job.run)
        raise
    left = job.left + sum(shot.name not in checkpoint.done for shot in job.shots)
    report.end(plan, sent=True, unfinished=left, gone=job.gone)
    return Ended.FAILED if left or job.gone else Ended.GOOD


async def _send(job: Job, checkpoint: Checkpoint, report: Report) -> None:
    asked = job.asked
    with contextlib.ExitStack() as stack:
        record = None
        if asked.record:
            record = stack.enter_context(recording.Recording(asked.record, asked.redact))
        async with Sender(timeout_seconds=asked.timeout, guarded=not asked.target) as sender:
            run = Run(
                seal=job.seal,
                sender=sender,
                pace=Pace(asked.rate),
                breaker=Breaker(asked.max_failures),
                checkpoint=checkpoint,
                recording=record,
                url_of=job.url_of,
                tell=report.outcome,
                order=Order(asked.order),
                concurrency=asked.concurrency,
                most=asked.max,
                given_up=report.given_up,
            )
            await run.go(job.shots)


def _absolute(asked: argparse.Namespace) -> list[str]:
    """The files of a run, so that it can be resumed from another folder."""
    found = []
    if asked.source not in {arguments.OUTBOX, arguments.ROWS}:
        found += ["--from", str(Path(asked.source).absolute())]
    if asked.record:
        found += ["--record", str(asked.record.absolute())]
    return found
