"""
The `s3` command: its table of commands, and the exit codes.

A command's module is imported when the command is run, so that `s3 --help` is quick. The operator's
commands come with the distribution s3-sam3-server, which names its own table in the entry-point
group `s3_sam3.commands`.
"""

import importlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from importlib.metadata import entry_points
from typing import Any, Final

import typer
from typer.core import TyperCommand, TyperGroup
from typing_extensions import override

from s3_sam3 import errors


class Exit(IntEnum):
    OK = 0
    REFUSED = 1
    """The API refused the request, or the task failed."""
    USAGE = 2
    """The command line is wrong (typer's own code)."""
    SIGNED_OUT = 3
    """No session, or the credentials were refused."""
    UNREACHABLE = 4
    TOO_LONG = 5
    """`--timeout` passed; the task goes on."""
    CONFIGURATION = 78
    """A setting is missing or wrong (sysexits' EX_CONFIG); restarting cannot help."""
    INTERRUPTED = 130
    """Ctrl-C."""


def exit_code(error: errors.S3Error) -> Exit:
    """The exit code that tells a script what kind of error it was."""
    match error:
        case errors.NotSignedIn() | errors.SignInFailed() | errors.ApiError(status=401):
            return Exit.SIGNED_OUT
        case errors.Unreachable():
            return Exit.UNREACHABLE
        case errors.WaitedTooLong():
            return Exit.TOO_LONG
        case _:
            return Exit.REFUSED


@dataclass(frozen=True, slots=True)
class Command:
    name: str
    target: str
    """`module:function`, or `module:app` for a group of commands."""
    help: str
    """Its line in `s3 --help`, and its help when the function has no docstring."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of `typer.Typer.command`."""

    def load(self) -> Any:
        """Import its module; gives typer's form of the command."""
        module, _, name = self.target.partition(":")
        found = getattr(importlib.import_module(module), name)
        parent = typer.Typer()
        if isinstance(found, typer.Typer):
            parent.add_typer(found, name=self.name)
        else:
            help_ = None if found.__doc__ else self.help
            parent.command(self.name, help=help_, **self.settings)(found)
        return typer.main.get_group(parent).commands[self.name]


USER_COMMANDS: Final = (
    Command(
        "segment", "s3_sam3.cli.segment:segment", "Find each concept in one picture or in many."
    ),
    Command(
        "rethreshold",
        "s3_sam3.cli.export:rethreshold",
        "Choose a result's instances again, at no price.",
    ),
    Command(
        "export", "s3_sam3.cli.export:export", "Write results in another format, without the GPU."
    ),
    Command("results", "s3_sam3.cli.results:results", "List your results, newest first."),
    Command(
        "status",
        "s3_sam3.cli.results:status",
        "Show a task's status, or the service's and your credits.",
    ),
    Command("login", "s3_sam3.cli.config:login", "Sign in and stay signed in."),
    Command("logout", "s3_sam3.cli.config:logout", "Sign out on this machine and at the service."),
    Command(
        "listen", "s3_sam3.cli.webhooks:listen", "Post your tasks' events to a URL of this machine."
    ),
    Command(
        "webhooks",
        "s3_sam3.cli.webhooks:app",
        "Have events of your tasks sent to an https address.",
    ),
)

OPERATOR_COMMANDS: Final = frozenset(
    {
        "add-listener",
        "add-machine",
        "demo",
        "janitor",
        "record",
        "remove-listener",
        "replay",
        "up",
        "weights",
        "worker",
    }
)
"""Names of what s3-sam3-server adds, to say so where it is not installed."""


class CommandTable(TyperGroup):
    """Lists commands by their names and help lines; loads a command when it is run."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        found = entry_points(group="s3_sam3.commands")
        operator = [command for entry in found for command in entry.load()]
        self._table = {command.name: command for command in (*USER_COMMANDS, *operator)}
        for command in self._table.values():
            panel = "Operator's commands" if command in operator else "Commands"
            self.add_command(TyperCommand(command.name, help=command.help, rich_help_panel=panel))

    @override
    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[Any, Any, list[str]]:
        name = args[0]
        if name in self._table:
            return name, self._table[name].load(), args[1:]
        if name in OPERATOR_COMMANDS:
            ctx.fail(f"`s3 {name}` is an operator's command: pip install s3-sam3-server.")
        return super().resolve_command(ctx, args)


app = typer.Typer(
    name="s3",
    cls=CommandTable,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 done, 1 refused or failed, 2 usage, 3 signed out, 4 unreachable, "
    "5 --timeout passed, 78 configuration, 130 interrupted.",
)


@app.callback()
def _s3() -> None:
    """Text-prompted segmentation: pictures and phrases in, masks out."""


def main() -> None:
    """Run one command; an expected error is one red sentence and its exit code."""
    try:
        app(prog_name="s3")
    except errors.S3Error as error:
        from s3_sam3.cli import show

        show.err.print(f"[red]{error}[/]", highlight=False)
        sys.exit(exit_code(error))
    except KeyboardInterrupt:
        sys.exit(Exit.INTERRUPTED)
    except BrokenPipeError:
        # The reader (`| head`) has closed the pipe; the interpreter must not complain at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(Exit.OK)
