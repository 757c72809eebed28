"""
What can go wrong in an attempt, grouped by what follows.

    ListenerError
    ├── LeaseLost              the task belongs to somebody else: nothing is settled
    ├── PipelineGone           nothing was asked of the model: the task is released unharmed
    └── TaskFault              the attempt failed with a code: `fail_task` decides about a retry
        ├── SourceNotFound
        ├── StorageUnavailable
        ├── PipelineRefused    the pipeline answered with an error code
        ├── PipelineBroke      the pipeline fell silent over this picture
        ├── DeadlineExceeded
        └── Unforeseen
"""

import contextlib
from collections.abc import Iterator
from typing import Final

from typing_extensions import override

from s3_sam3.contracts.errors import FACTS, TASK_ERROR_CODES, ErrorCode


_BAD_PICTURE: Final = frozenset(
    {
        ErrorCode.UNSUPPORTED_MEDIA_TYPE,
        ErrorCode.EMPTY_BODY,
        ErrorCode.FILE_TOO_LARGE,
        ErrorCode.IMAGE_TOO_LARGE,
    }
)
"""Refusals by the pipeline that mean: the task's picture is no good."""
_BAD_PROMPT: Final = frozenset({ErrorCode.INVALID_REQUEST, ErrorCode.PROMPT_EMPTY})
"""Refusals that mean: a prompt does not fit the picture. The API checked all the rest."""

_DATABASE_ONLY: Final = frozenset(
    {
        ErrorCode.LEASE_EXPIRED,
        ErrorCode.NO_CAPABLE_WORKER,
        ErrorCode.EXPIRED,
    }
)
"""Task codes that a pipeline cannot know."""


class ListenerError(Exception):
    """Something went wrong in an attempt."""

    @override
    def __str__(self) -> str:
        """The message that was given, else the class's docstring."""
        return super().__str__() or str(type(self).__doc__)


class LeaseLost(ListenerError):
    """The task was cancelled, reaped or taken by another."""


class PipelineGone(ListenerError):
    """The pipeline does not answer, or has no model ready."""


class TaskFault(ListenerError):
    """The attempt failed."""

    code: ErrorCode = ErrorCode.INTERNAL


class SourceNotFound(TaskFault):
    """The picture is not in the object store."""

    code = ErrorCode.SOURCE_NOT_FOUND


class StorageUnavailable(TaskFault):
    """The object store did not answer."""

    code = ErrorCode.STORAGE_UNAVAILABLE


class PipelineRefused(TaskFault):
    """The pipeline answered with an error."""

    def __init__(self, code: ErrorCode, detail: str) -> None:
        super().__init__(detail)
        self.code = as_task_code(code)


class PipelineBroke(TaskFault):
    """The pipeline fell silent while it worked on this picture."""

    code = ErrorCode.PIPELINE_FAILED


class DeadlineExceeded(TaskFault):
    """The attempt reached its hard deadline."""

    code = ErrorCode.DEADLINE_EXCEEDED


class Unforeseen(TaskFault):
    """The listener itself failed; its log has the traceback."""


def as_task_code(code: ErrorCode) -> ErrorCode:
    """The code for the task's row, for a *code* that the pipeline answered."""
    if code in TASK_ERROR_CODES - _DATABASE_ONLY:
        return code
    if code in _BAD_PICTURE:
        return ErrorCode.INVALID_IMAGE
    if code in _BAD_PROMPT:
        return ErrorCode.PROMPT_INVALID
    return ErrorCode.PIPELINE_FAILED if FACTS[code].retryable else ErrorCode.INTERNAL


@contextlib.contextmanager
def one_error() -> Iterator[None]:
    """Raise one error out of a TaskGroup's: a lost lease if there is one, else the first."""
    try:
        yield
    except BaseExceptionGroup as group:
        leaves = list(_leaves(group))
        lost = [leaf for leaf in leaves if isinstance(leaf, LeaseLost)]
        raise (lost or leaves)[0] from None


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
