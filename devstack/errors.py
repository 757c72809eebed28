"""
Why the stack does not start, or does not go on.

    StackError
    ├── AlreadyRunningError     another `up` holds this state directory
    ├── NotRunningError         `env` or `status` found nothing
    ├── PortTakenError          a port that this state directory promised is in use
    ├── ProcessDiedError        PostgreSQL or SeaweedFS ended by itself
    ├── NotReadyError           a process lives but does not answer
    ├── PostgresUnusableError   no way to run PostgreSQL here as this user
    ├── OutdatedPlatformError   the state directory was made by other platform files
    ├── MigrationFailedError    a migration's statement was refused
    └── ForeignDirectoryError   `reset` was pointed at a directory that is not ours
"""


class StackError(Exception):
    """The stack cannot do that; the message says what to do about it."""


class AlreadyRunningError(StackError):
    """A devstack already runs on this state directory."""


class NotRunningError(StackError):
    """No devstack runs on this state directory."""


class PortTakenError(StackError):
    """A port is in use by another program."""


class ProcessDiedError(StackError):
    """A process of the stack ended by itself."""


class NotReadyError(StackError):
    """A process of the stack does not answer in time."""


class PostgresUnusableError(StackError):
    """PostgreSQL cannot be run here."""


class OutdatedPlatformError(StackError):
    """The database was made by another version of the platform files."""


class MigrationFailedError(StackError):
    """A migration was refused and rolled back."""


class ForeignDirectoryError(StackError):
    """The directory does not look like a state directory."""
