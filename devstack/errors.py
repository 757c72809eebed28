"""Why the stack does not start, or stops."""


class StackError(Exception):
    """The base of all below. The message says what a person can do about it."""


class AlreadyRunningError(StackError):
    """Another `up` holds this state directory."""


class NotRunningError(StackError):
    """No `up` holds this state directory."""


class PortTakenError(StackError):
    """A port that this state directory keeps is in use by another program."""


class ProcessDiedError(StackError):
    """PostgreSQL, SeaweedFS or an Edge Function ended by itself."""


class NotReadyError(StackError):
    """A process lives but does not answer in time."""


class PostgresUnusableError(StackError):
    """PostgreSQL cannot run here as this user."""


class OutdatedPlatformError(StackError):
    """The state directory was made by another version of devstack/platform."""


class MigrationFailedError(StackError):
    """PostgreSQL refused a statement of a migration."""


class ForeignDirectoryError(StackError):
    """`reset` was pointed at a directory that is not a state directory."""
