"""`s3 replay`: hands everything over to `python -m webhooks.replay send`."""

import os
import sys
from collections.abc import Sequence
from typing import Any, Final, NoReturn

import typer


PASSED_ON: Final[dict[str, Any]] = {
    "context_settings": {"allow_extra_args": True, "ignore_unknown_options": True},
    "add_help_option": False,
}
"""How a command is registered whose options, --help included, are another program's."""


def replay(context: typer.Context) -> None:
    """Send webhooks again: shows the plan, sends with --yes. `s3 replay --help` lists the rest."""
    become("webhooks.replay", ["send", *context.args])


def become(module: str, arguments: Sequence[str]) -> NoReturn:
    """Be `python -m module` from here on, so that signals and the exit code are its own."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])  # noqa: S606 - our own module, no shell
