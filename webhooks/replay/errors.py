"""
What the tool refuses.

    ReplayError
    ├── UsageError        the command line asks for what cannot be done
    ├── TargetRefused     the target is not on this machine and was not allowed by name
    └── BadRecording      a file's line cannot be read; the message names it
"""


class ReplayError(Exception):
    """Nothing was sent."""


class UsageError(ReplayError):
    """The command line asks for what cannot be done."""


class TargetRefused(UsageError):
    """The target is not on this machine, and --target-allow does not name its host."""


class BadRecording(UsageError):
    """A line of the recording cannot be read."""
