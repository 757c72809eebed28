"""Exit codes of the `s3` command, the same for every subcommand."""

from enum import IntEnum

from s3_sam3 import errors


class Exit(IntEnum):
    """What the shell sees."""

    OK = 0
    REFUSED = 1
    """The API refused the request, or the task failed."""
    USAGE = 2
    """The command line is wrong (typer's own code)."""
    SIGNED_OUT = 3
    """No session, or the credentials were refused."""
    UNREACHABLE = 4
    """Nobody answered."""
    TOO_LONG = 5
    """`--timeout` passed; the task goes on."""
    CONFIGURATION = 78
    """A setting is missing or wrong (sysexits' EX_CONFIG); restarting cannot help."""
    INTERRUPTED = 130
    """Ctrl-C."""


def code_of(error: errors.S3Error) -> Exit:
    """The exit code that tells a script what kind of error it was."""
    match error:
        case errors.NotSignedIn() | errors.SignInFailed():
            return Exit.SIGNED_OUT
        case errors.ApiError(status=401):
            return Exit.SIGNED_OUT
        case errors.Unreachable():
            return Exit.UNREACHABLE
        case errors.WaitedTooLong():
            return Exit.TOO_LONG
        case _:
            return Exit.REFUSED
