"""
A Supabase and an R2 on this machine, without Docker.

    python -m devstack up       start, and stay until Ctrl-C
    python -m devstack env      print the variables of the running stack
    python -m devstack status   say whether it runs
    python -m devstack reset    forget all data, keys and ports

    python -m devstack restart|kill|pause|resume postgres|objects
                                let one program crash or stall
"""

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path

from devstack import control, errors, stack
from devstack import settings as choices
from devstack import state as states


EXIT_FAILED, EXIT_ALREADY_RUNNING, EXIT_NOT_RUNNING = 1, 2, 3


def main(arguments: list[str] | None = None) -> int:
    """Run the command of *arguments* and return its exit status."""
    flags = _parser().parse_args(arguments)
    settings = choices.Settings.read(os.environ, vars(flags))
    try:
        if flags.command in control.ORDERS:
            return order(settings, flags.program, flags.command)
        return int(COMMANDS[flags.command](settings, quiet=flags.quiet))
    except errors.AlreadyRunningError as error:
        return _complain(error, EXIT_ALREADY_RUNNING)
    except errors.NotRunningError as error:
        return _complain(error, EXIT_NOT_RUNNING)
    except errors.StackError as error:
        return _complain(error, EXIT_FAILED)


def up(settings: choices.Settings, *, quiet: bool) -> int:
    """Start the stack and stay until it is told to stop, or fails."""
    begun = time.monotonic()
    directory = states.StateDir(settings.state_dir)
    with directory.held() as lease:
        _log_to(directory.root / "gateway.log", quiet=quiet)
        state = directory.load(settings.port)
        directory.env_pointer.write_text(str(settings.env_file))
        announce = _silence if quiet else _announcer(settings, begun)
        life = stack.run(settings, state, lease, announce)
        asyncio.run(_until_told(life, lifeline=settings.lifeline))
    return 0


def env(settings: choices.Settings, *, quiet: bool) -> int:
    """Print the env file of the running stack. Raises: errors.NotRunningError."""
    del quiet
    sys.stdout.write(_running_env(settings).read_text())
    return 0


def status(settings: choices.Settings, *, quiet: bool) -> int:
    """Say where the stack runs. Raises: errors.NotRunningError."""
    path = _running_env(settings)
    holder = states.StateDir(settings.state_dir).holder()
    if not quiet:
        url = path.read_text().partition("\n")[0].partition("=")[2]
        sys.stdout.write(f"Running at {url} (process {holder}).\n")
    return 0


def reset(settings: choices.Settings, *, quiet: bool) -> int:
    """Delete the state. Raises: errors.AlreadyRunningError, errors.ForeignDirectoryError."""
    states.StateDir(settings.state_dir).erase()
    if not quiet:
        sys.stdout.write(f"Forgot {settings.state_dir}.\n")
    return 0


def order(settings: choices.Settings, program: str, what: str) -> int:
    """Tell the running stack to do *what* to one of its programs. Raises: errors.StackError."""
    lines = _running_env(settings).read_text().splitlines()
    variables = dict(line.split("=", 1) for line in lines)
    control.send(variables["SUPABASE_URL"], variables["SUPABASE_SERVICE_KEY"], program, what)
    return 0


COMMANDS = {"up": up, "env": env, "status": status, "reset": reset}


def _absolute(text: str) -> Path:
    return Path(text).absolute()


UP_FLAGS: tuple[tuple[str, Callable[[str], object], str], ...] = (
    (
        "--port",
        int,
        "gateway port; 0 picks a free one (default: DEVSTACK_PORT, the last one, 54321)",
    ),
    ("--env-file", _absolute, "default: devstack.env in the state directory"),
    ("--migrations-dir", _absolute, "default: supabase/migrations"),
    ("--functions-dir", _absolute, "Edge Functions; config.toml lies beside the folder"),
    ("--functions-env", _absolute, "file with their secrets; default: .env in that folder"),
    ("--jwt-seconds", int, "life of an access token; default: 3600"),
    ("--postgres-bin", _absolute, "folder of other PostgreSQL 18 programs"),
    ("--postgres-user", str, "as whom PostgreSQL runs when you are root"),
)


async def _until_told(life: Coroutine[None, None, None], *, lifeline: bool) -> None:
    """Run *life* until SIGINT, SIGTERM or the end of the *lifeline*, and wait for its end."""
    task = asyncio.ensure_future(life)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)

    def look() -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            loop.remove_reader(sys.stdin)
            task.cancel()

    if lifeline:
        loop.add_reader(sys.stdin, look)
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _announcer(settings: choices.Settings, begun: float) -> Callable[[str], None]:

    def announce(variables: str) -> None:
        seconds = time.monotonic() - begun
        sys.stdout.write(variables)
        sys.stdout.write(f"# Up in {seconds:.1f} s; also in {settings.env_file}. Ctrl-C stops.\n")
        sys.stdout.flush()

    return announce


def _silence(_variables: str) -> None:
    pass


def _running_env(settings: choices.Settings) -> Path:
    """The env file of the running stack. Raises: errors.NotRunningError."""
    directory = states.StateDir(settings.state_dir)
    if directory.holder() is not None:
        path = Path(directory.env_pointer.read_text())
        if path.exists():
            return path
        raise errors.NotRunningError(f"The devstack on {settings.state_dir} is still starting.")
    raise errors.NotRunningError(f"No devstack runs on {settings.state_dir}.")


def _log_to(path: Path, *, quiet: bool) -> None:
    """Log everything to the file *path*, and warnings also to the terminal."""
    told = logging.StreamHandler()
    told.setLevel(logging.CRITICAL if quiet else logging.WARNING)
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
        handlers=[logging.FileHandler(path, mode="w"), told],
    )


def _complain(error: errors.StackError, code: int) -> int:
    sys.stderr.write(f"devstack: {error}\n")
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m devstack",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name in (*COMMANDS, *control.ORDERS):
        command = commands.add_parser(name)
        state_help = "default: DEVSTACK_STATE_DIR, or .devstack here"
        command.add_argument("--state-dir", type=_absolute, help=state_help)
        command.add_argument("--quiet", action="store_true", help="print nothing but errors")
        if name in control.ORDERS:
            command.add_argument("program", choices=("postgres", "objects"))
        if name == "up":
            for flag, convert, about in UP_FLAGS:
                command.add_argument(flag, type=convert, help=about)
            life_help = "stop when standard input ends"
            command.add_argument("--lifeline", action="store_true", help=life_help)
            net_help = "leave out the schema `net`, as a project without pg_net"
            command.add_argument("--no-net", dest="net", action="store_false", help=net_help)
    return parser


if __name__ == "__main__":
    sys.exit(main())
