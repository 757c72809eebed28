"""`s3 replay`: plans, sends, resumes."""

import contextlib
from enum import IntEnum
from pathlib import Path

import platformdirs

from s3_sam3.recordings.recording import Recording
from webhooks.replay import options
from webhooks.replay.checkpoint import Checkpoint, new_run, path_of
from webhooks.replay.job import Job, prepare
from webhooks.replay.report import Report
from webhooks.replay.run import Breaker, Pace, Run
from webhooks.replay.sending import Sender


class Ended(IntEnum):
    """Exit codes of a run that ended by itself."""

    ALL_OK = 0
    SOME_FAILED = 1
    NOTHING_SENT = 3


def state_folder() -> Path:
    """Where checkpoints are; XDG_STATE_HOME is honoured."""
    return Path(platformdirs.user_state_dir("s3-sam3")) / "replay"


async def replay(typed: options.Typed) -> Ended:
    """
    Plan, and with --yes send.

    Raises: UsageError, RecordingError, RestError, SettingsError.
    """
    if typed.get("resume"):
        return await _resume(typed)
    asked = options.read(typed)
    job = await prepare(asked, new_run(), None)
    report = Report(as_json=asked.as_json, diff=asked.diff)
    plan = job.plan
    if not asked.yes:
        return await _send_or_show(job, None, report)
    ids = [message.id for message in job.messages]
    checkpoint = Checkpoint.create(state_folder(), plan.run, options.kept(typed), ids)
    with contextlib.closing(checkpoint):
        return await _send_or_show(job, checkpoint, report)


async def _resume(typed: options.Typed) -> Ended:
    checkpoint = Checkpoint(path_of(state_folder(), typed["resume"]))
    with contextlib.closing(checkpoint):
        asked = options.read(options.resumed(checkpoint.options, typed))
        job = await prepare(asked, checkpoint.run, checkpoint)
        return await _send_or_show(job, checkpoint, Report(as_json=asked.as_json, diff=asked.diff))


async def _send_or_show(job: Job, checkpoint: Checkpoint | None, report: Report) -> Ended:
    plan = job.plan
    report.plan(plan)
    # A script must not take a run of which everything was excluded for a success.
    if checkpoint is None or not job.options.yes or plan.all_excluded:
        report.end(plan, sent=False)
        return Ended.NOTHING_SENT
    try:
        await _send(job, checkpoint, report)
    except BaseException:
        # Ctrl-C, or a fault of ours: the checkpoint is right all the same.
        report.resumable(plan.run)
        raise
    left = job.left + sum(send.name not in checkpoint.done for send in job.sends)
    report.end(plan, sent=True, unfinished=left, gone=job.gone)
    return Ended.SOME_FAILED if left or job.gone else Ended.ALL_OK


async def _send(job: Job, checkpoint: Checkpoint, report: Report) -> None:
    asked = job.options
    with contextlib.ExitStack() as stack:
        recording = None
        if asked.record:
            recording = stack.enter_context(Recording(asked.record, asked.redact))
        async with Sender(timeout_seconds=asked.timeout, guarded=not asked.target) as sender:
            run = Run(
                signer=job.signer,
                sender=sender,
                pace=Pace(asked.rate),
                breaker=Breaker(asked.max_failures),
                checkpoint=checkpoint,
                recording=recording,
                url_of=job.url_of,
                report=report.outcome,
                order=asked.order,
                concurrency=asked.concurrency,
                most=asked.max_sends,
                given_up=report.given_up,
            )
            await run.send_all(job.sends)
