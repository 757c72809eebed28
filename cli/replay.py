"""`s3 replay` and `s3 record`: webhooks sent again, and webhooks recorded (docs/replay.md)."""

import asyncio
import contextlib
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import platformdirs
import typer

from adapters.rest import RestError
from runtime.settings import SettingsError
from s3_sam3.cli import Exit, show
from s3_sam3.recordings import Recording, RecordingError
from webhooks.replay import UsageError, options, recorder
from webhooks.replay.checkpoint import Checkpoint, new_run, path_of
from webhooks.replay.job import Job, prepare
from webhooks.replay.report import Report
from webhooks.replay.run import Breaker, Pace, Run
from webhooks.replay.sending import Sender


NOTHING_SENT: Final = 3
"""Exit code of a plan, and of a run of which everything was excluded."""


def replay(**typed: Any) -> None:
    """
    Send webhooks again. Shows the plan; sends with --yes.

    Exit codes: 0 every answer was 2xx; 1 some were not, or something is left; 2 usage;
    3 nothing was sent: a plan, or all of it was excluded; 4 the database did not answer;
    78 configuration; 130 interrupted.
    """
    _finish(_replay({name: value for name, value in typed.items() if value}))


# typer reads the options from here; they are declared once, in webhooks.replay.options.
replay.__signature__ = options.signature()  # type: ignore[attr-defined]


def record(
    forward: Annotated[str, typer.Option(metavar="URL", help="Where requests are forwarded to.")],
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where to listen.")
    ] = "127.0.0.1:9000",
    out: Annotated[Path, typer.Option(metavar="FILE", help="The recording.")] = Path(
        "webhooks.ndjson"
    ),
    redact: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A header or query parameter that is not recorded, like those that look secret.",
        ),
    ] = None,
) -> None:
    """Record each request, then forward it."""
    host, port = _address(listen)
    _finish(recorder.serve(host, port, forward, out, redact or ()))


def state_folder() -> Path:
    """Where checkpoints are; XDG_STATE_HOME is honoured."""
    return Path(platformdirs.user_state_dir("s3-sam3")) / "replay"


async def _replay(typed: options.Typed) -> int:
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


async def _resume(typed: options.Typed) -> int:
    checkpoint = Checkpoint(path_of(state_folder(), typed["resume"]))
    with contextlib.closing(checkpoint):
        asked = options.read(options.resumed(checkpoint.options, typed))
        job = await prepare(asked, checkpoint.run, checkpoint)
        return await _send_or_show(job, checkpoint, Report(as_json=asked.as_json, diff=asked.diff))


async def _send_or_show(job: Job, checkpoint: Checkpoint | None, report: Report) -> int:
    plan = job.plan
    report.plan(plan)
    # A script must not take a run of which everything was excluded for a success.
    if checkpoint is None or not job.options.yes or plan.all_excluded:
        report.end(plan, sent=False)
        return NOTHING_SENT
    try:
        await _send(job, checkpoint, report)
    except BaseException:
        # Ctrl-C, or a fault of ours: the checkpoint is right all the same.
        report.resumable(plan.run)
        raise
    left = job.left + sum(send.name not in checkpoint.done for send in job.sends)
    report.end(plan, sent=True, unfinished=left, gone=job.gone)
    return Exit.REFUSED if left or job.gone else Exit.OK


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


def _address(text: str) -> tuple[str, int]:
    """Read `127.0.0.1:9000`, `[::1]:9000`, `:9000` (this machine only) or `9000`."""
    host, _, port = text.rpartition(":")
    if not port.isdecimal():
        msg = "an address is HOST:PORT"
        raise typer.BadParameter(msg, param_hint="--listen")
    return host.strip("[]") or "127.0.0.1", int(port)


def _finish(work: Coroutine[Any, Any, int | None]) -> NoReturn:
    """Run *work*; leave with its exit code, or with that of the error that ended it."""
    try:
        code = asyncio.run(work) or Exit.OK
    except (UsageError, RecordingError) as error:
        code = _explain(error, Exit.USAGE)
    except SettingsError as error:
        code = _explain(error, Exit.CONFIGURATION)
    except RestError as error:
        code = _explain(f"No usable answer: {error}", Exit.UNREACHABLE)
    raise SystemExit(code)


def _explain(reason: object, code: Exit) -> Exit:
    show.err.print(reason, style="red", markup=False, highlight=False, soft_wrap=True)
    return code
