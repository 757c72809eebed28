"""The operator's commands of `s3`; the command itself and the user's commands are the SDK's."""

from typing import Any, Final

from s3_sam3.cli import Command


#: For commands whose options, --help included, another program reads.
_PASSED_ON: Final[dict[str, Any]] = {
    "context_settings": {"allow_extra_args": True, "ignore_unknown_options": True},
    "add_help_option": False,
}

COMMANDS: Final = (
    Command(
        name="up",
        target="cli.up:up",
        help="Start a whole S3 on this machine, with a worker, until Ctrl-C.",
    ),
    Command(
        name="demo",
        target="cli.demo:demo",
        help="Start everything here, segment a picture by text, stop everything.",
    ),
    Command(
        name="worker",
        target="cli.worker:worker",
        help="Run models and listeners on a GPU host until Ctrl-C.",
    ),
    Command(
        name="janitor",
        target="cli.janitor:app",
        help="Delete what nobody needs, and check the credit ledger.",
    ),
    Command(
        name="add-machine",
        target="cli.accounts:add_machine",
        help="Make a machine user for a GPU host.",
    ),
    Command(
        name="add-listener",
        target="cli.accounts:add_listener",
        help="Have a listener woken by webhook.",
    ),
    Command(
        name="remove-listener",
        target="cli.accounts:remove_listener",
        help="Stop waking a listener by webhook.",
    ),
    Command(
        name="replay",
        target="cli.replay:replay",
        help="Send webhooks again: shows the plan, sends with --yes.",
    ),
    Command(
        name="record",
        target="cli.replay:record",
        help="Record webhooks and forward them.",
    ),
    Command(
        name="weights",
        target="cli.weights:weights",
        help="Fetch, convert, verify or describe SAM3's weights.",
        settings=_PASSED_ON,
    ),
)
