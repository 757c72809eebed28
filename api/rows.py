"""Rows of the database as the bodies of the contract."""

from typing import Any, Final

from contracts import bodies
from contracts.errors import FACTS, ErrorCode
from contracts.prompts import SegmentOptions
from contracts.tasks import TaskStatus


Row = dict[str, Any]

RESULT_COLUMNS: Final = (
    "id,status,progress,cost,attempt_count,error_code,error_message,"
    "created_at,started_at,finished_at,project_id,source_image_url,text_prompt,prompts,options,"
    "instance_count,summary,mask_image_url,overlay_image_url,manifest_url"
)
"""Named, never `*`: columns are granted one by one."""


def task(row: Row, queue_position: int | None = None) -> bodies.Task:
    """A row as the state of a task."""
    return bodies.Task(**_state(row), queue_position=queue_position)


def result(row: Row) -> bodies.Result:
    """A row with what was asked and found."""
    return bodies.Result(**_state(row), **_question(row))


def detail(row: Row, **download_urls: str | None) -> bodies.ResultDetail:
    """A row with URLs to read its objects."""
    return bodies.ResultDetail(**_state(row), **_question(row), **download_urls)


def _state(row: Row) -> Row:
    return {
        "task_id": row["id"],
        "status": row["status"],
        "progress": row["progress"],
        "credits": row["cost"],
        "attempt_count": row["attempt_count"],
        "error": _error(row),
        "created_at": row["created_at"],
        "started_at": row["started_at"],
        "finished_at": row["finished_at"],
    }


def _question(row: Row) -> Row:
    return {
        "project_id": row["project_id"],
        "image_url": row["source_image_url"],
        "text_prompt": row["text_prompt"],
        "prompts": row["prompts"],
        "options": SegmentOptions.model_validate(row["options"] or {}),
        "instance_count": row["instance_count"],
        "summary": row["summary"],
    }


def _error(row: Row) -> bodies.TaskError | None:
    """Why it failed. A task that will be tried again carries no error."""
    if row["status"] != TaskStatus.FAILED:
        return None
    known = row["error_code"] in set(ErrorCode)
    code = ErrorCode(row["error_code"]) if known else ErrorCode.INTERNAL
    fact = FACTS[code]
    return bodies.TaskError(
        code=code, message=row["error_message"] or fact.message, retryable=fact.retryable
    )
