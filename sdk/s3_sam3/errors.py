"""
The errors of the SDK.

S3Error
├── ApiError          the API refused a request: code, message, details, request_id
├── Unreachable       no answer from the service
├── SignInFailed      Supabase Auth refused the credentials
├── NotSignedIn       there is no session
├── TaskFailed        the task ended `failed`
├── TaskCancelled     the task ended `cancelled`
├── WaitedTooLong     the task did not end in the time that you gave it; it goes on
└── UnreadableManifest  the task is done, in a format that this SDK does not know
"""

from typing import TYPE_CHECKING, Any
from uuid import UUID


if TYPE_CHECKING:  # the command line needs the errors for `--help`, and not pydantic
    from s3_sam3.contracts.bodies import TaskError
    from s3_sam3.contracts.errors import ErrorCode


class S3Error(Exception):
    """Anything the SDK raises on purpose."""


class ApiError(S3Error):
    """The API refused a request; `code` is stable, `message` is for people."""

    def __init__(
        self,
        *,
        status: int,
        code: "ErrorCode | str",
        message: str,
        details: dict[str, Any] | None = None,
        retryable: bool = False,
        request_id: str | None = None,
    ) -> None:
        super().__init__(f"{message}{_faults(details)} ({code})")
        self.status = status
        self.code = code
        self.message = message
        self.details = details
        self.retryable = retryable
        self.request_id = request_id


class Unreachable(S3Error):
    """No answer from the service."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"Nobody answers at {address}: {reason}. Is the service up (`s3 up`)?")
        self.address = address


class SignInFailed(S3Error):
    """Supabase Auth refused the credentials."""


class NotSignedIn(S3Error):
    """No session. Sign in first (`s3 login`)."""

    def __init__(self) -> None:
        super().__init__(type(self).__doc__)


class _Ended(S3Error):
    def __init__(self, task_id: UUID, message: str) -> None:
        super().__init__(message)
        self.task_id = task_id


class TaskFailed(_Ended):
    """The task ended `failed`; `error` says why, the task's `credits_charged` what it cost."""

    def __init__(self, task_id: UUID, error: "TaskError | None") -> None:
        reason = f"{error.message} ({error.code})" if error else "no reason given"
        super().__init__(task_id, f"Task {task_id} failed: {reason}")
        self.error = error


class TaskCancelled(_Ended):
    """The task ended `cancelled`; `error` is None when a user cancelled it."""

    def __init__(self, task_id: UUID, error: "TaskError | None" = None) -> None:
        reason = f": {error.message} ({error.code})" if error else "."
        super().__init__(task_id, f"Task {task_id} was cancelled{reason}")
        self.error = error


class WaitedTooLong(_Ended):
    """The task did not end in the time that you gave it; it goes on."""

    def __init__(self, task_id: UUID, seconds: float) -> None:
        super().__init__(task_id, f"Task {task_id} has not ended within {seconds:g} s; it goes on.")


class UnreadableManifest(_Ended):
    """The task is done, in a format that this SDK does not know; a newer one may."""

    def __init__(self, task_id: UUID, reason: str) -> None:
        super().__init__(
            task_id,
            f"Task {task_id} is done, but its manifest cannot be read ({reason}). Is the service"
            " newer than this client?",
        )


def _faults(details: dict[str, Any] | None) -> str:
    """Say what `details` names: each field that is wrong, or the reason."""
    told = details or {}
    fields = [f"{each.get('field')}: {each.get('message')}" for each in told.get("fields", [])]
    reasons = [told["reason"]] if isinstance(told.get("reason"), str) else []
    return "".join(f" {fault.rstrip('.')}." for fault in (*fields, *reasons))
