"""Every error ends a task with a code that its row may carry."""

import asyncio

import pytest

from listener import errors
from s3_sam3.contracts.errors import FACTS, TASK_ERROR_CODES, ErrorCode


@pytest.mark.parametrize("code", list(ErrorCode))
def test_each_code_of_the_pipeline_becomes_a_task_code(code: ErrorCode) -> None:
    """Whatever the pipeline answers, `fail_task` accepts what is made of it."""
    assert errors.as_task_code(code) in TASK_ERROR_CODES


@pytest.mark.parametrize("code", [ErrorCode.FILE_TOO_LARGE, ErrorCode.IMAGE_TOO_LARGE])
def test_a_picture_that_is_no_good_is_final(code: ErrorCode) -> None:
    """A refusal because of the picture is not tried again."""
    assert not FACTS[errors.as_task_code(code)].retryable


@pytest.mark.parametrize("code", [ErrorCode.INVALID_REQUEST, ErrorCode.PROMPT_EMPTY])
def test_a_prompt_that_does_not_fit_is_final(code: ErrorCode) -> None:
    """Only the user can correct a box outside the picture, so no attempt is wasted on it."""
    assert errors.as_task_code(code) is ErrorCode.PROMPT_INVALID


@pytest.mark.parametrize(
    "code",
    [
        ErrorCode.LEASE_EXPIRED,
        ErrorCode.EXPIRED,
        ErrorCode.NO_CAPABLE_WORKER,
    ],
)
def test_what_only_the_database_knows_is_not_taken_from_the_pipeline(code: ErrorCode) -> None:
    """A pipeline cannot end a lease or let a task expire."""
    assert errors.as_task_code(code) not in errors._DATABASE_ONLY


def test_a_pipeline_may_say_that_its_time_is_up() -> None:
    """It was told how long it has; that it gave up is what the row says, and it is tried again."""
    code = errors.as_task_code(ErrorCode.DEADLINE_EXCEEDED)
    assert code is ErrorCode.DEADLINE_EXCEEDED
    assert FACTS[code].retryable


@pytest.mark.parametrize("code", sorted(TASK_ERROR_CODES - errors._DATABASE_ONLY))
def test_the_tables_own_codes_are_passed_on(code: ErrorCode) -> None:
    """What may stand in a row stands there as the pipeline said it."""
    assert errors.as_task_code(code) is code


@pytest.mark.parametrize("fault", errors.TaskFault.__subclasses__())
def test_each_fault_has_a_task_code_and_a_sentence(fault: type[errors.TaskFault]) -> None:
    """A leaf's code may stand in a row, and its docstring is its message."""
    assert fault.code in TASK_ERROR_CODES
    assert fault.__doc__


async def test_a_lost_lease_comes_before_every_other_error() -> None:
    """When work and lease fail at once, nothing is settled."""

    async def fail(error: Exception) -> None:
        raise error

    async def fail_twice() -> None:
        with errors.one_error():
            async with asyncio.TaskGroup() as group:
                group.create_task(fail(errors.PipelineBroke()))
                group.create_task(fail(errors.LeaseLost()))

    with pytest.raises(errors.LeaseLost):
        await fail_twice()


def test_an_error_without_words_says_its_docstring() -> None:
    """The message of a bare leaf is its docstring."""
    assert str(errors.PipelineBroke()) == errors.PipelineBroke.__doc__
