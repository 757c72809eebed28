"""The s3 command."""

import os
import sys

import typer

from cli import (
    demo,
    export,
    janitor,
    listen,
    listener,
    login,
    machine,
    record,
    replay,
    results,
    rethreshold,
    segment,
    show,
    up,
    webhooks,
    weights,
    worker,
)
from cli.exits import Exit, code_of
from s3_sam3 import S3Error


app = typer.Typer(
    name="s3",
    help="Text-prompted segmentation: REST in, masks out by Realtime.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 done, 1 refused or failed, 2 usage, 3 signed out, 4 unreachable, "
    "5 --timeout passed, 78 configuration, 130 interrupted.",
)

for command in (
    segment.segment,
    rethreshold.rethreshold,
    results.results,
    results.status,
    login.login,
    login.logout,
    up.up,
    worker.worker,
    demo.demo,
    listen.listen,
):
    app.command()(command)
app.command("export", help=export.HELP)(export.export)
app.command("add-machine")(machine.add_machine)
app.command("add-listener")(listener.add_listener)
app.command("remove-listener")(listener.remove_listener)
app.command("replay", **replay.PASSED_ON)(replay.replay)
app.command("record", **replay.PASSED_ON)(record.record)
app.command("weights", **replay.PASSED_ON)(weights.weights)
app.add_typer(janitor.app, name="janitor")
app.add_typer(webhooks.app, name="webhooks")


def main() -> None:
    """Run one command; an expected error is one red sentence and its exit code."""
    try:
        app()
    except S3Error as error:
        show.err.print(f"[red]{error}[/]", highlight=False)
        sys.exit(code_of(error))
    except KeyboardInterrupt:
        sys.exit(Exit.INTERRUPTED)
    except BrokenPipeError:
        # The reader (`| head`) has what it wanted.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(Exit.OK)


if __name__ == "__main__":
    main()
