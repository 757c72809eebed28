"""`s3 replay` and `s3 record`: webhooks sent again, and webhooks recorded (docs/replay.md)."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from adapters.rest import RestError
from runtime.settings import SettingsError
from s3_sam3.cli import Exit, show
from s3_sam3.recordings import RecordingError
from webhooks.replay import UsageError, options, recorder, replaying


def replay(**typed: Any) -> None:
    """
    Send webhooks again. Shows the plan; sends with --yes.

    Exit codes: 0 every answer was 2xx; 1 some were not, or something is left; 2 usage;
    3 nothing was sent: a plan, or all of it was excluded; 4 the database did not answer;
    78 configuration; 130 interrupted.
    """
    _finish(replaying.replay({name: value for name, value in typed.items() if value}))


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
