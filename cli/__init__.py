"""The operator's commands of `s3`; the command itself and the user's commands are the SDK's."""

import os
import sys
from typing import Any, Final

import typer

from s3_sam3.cli import Command


#: For commands whose options, --help included, another program reads.
_PASSED_ON: Final[dict[str, Any]] = {
    "context_settings": {"allow_extra_args": True, "ignore_unknown_options": True},
    "add_help_option": False,
}

COMMANDS: Final = (
    Command("up", "cli.up:up", "Start a whole S3 on this machine, until Ctrl-C."),
    Command("demo", "cli.up:demo", "Start everything, segment a picture, stop everything."),
    Command("worker", "cli.worker:worker", "Run models and listeners on a GPU host until Ctrl-C."),
    Command("janitor", "cli.janitor:app", "Delete what nobody needs, and check the credit ledger."),
    Command("add-machine", "cli.accounts:add_machine", "Make a machine user for a GPU host."),
    Command("add-listener", "cli.accounts:add_listener", "Have a listener woken by webhook."),
    Command(
        "remove-listener", "cli.accounts:remove_listener", "Stop waking a listener by webhook."
    ),
    Command("replay", "cli.replay:replay", "Send webhooks again: plan, or --yes."),
    Command("record", "cli.replay:record", "Record webhooks and forward them."),
    Command("weights", "cli:weights", "Fetch SAM3's weights, or verify them.", _PASSED_ON),
)


def weights(context: typer.Context) -> None:
    """Become `python -m ai.weights`."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-m", "ai.weights", *context.args])  # noqa: S606 - our own module, no shell
