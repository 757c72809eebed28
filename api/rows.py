"""Rows of the database as the bodies of the contract."""

from typing import Any, Final

from s3_sam3.contracts import bodies
from s3_sam3.contracts.errors import FACTS, ErrorCode
from s3_sam3.contracts.prompts import SegmentOptions
from s3_sam3.contracts.tasks import TaskStatus


Row = dict[str, Any]

RESULT_COLUMNS: Final = (
    "id,status,progress,cost,charged,attempt_count,error_code,error_message,"
    "created_at,expires_at,started_at,finished_at,"
    "project_id,source_image_url,text_prompt,prompts,options,needs,"
    "instance_count,summary,mask_image_url,overlay_image_url,manifest_url"
)
"""Named, never `*`: columns are granted one by one."""


def task(row: Row, queue_status: Row | None = None) -> bodies.Task:
    """A row as the state of a task, with the answer of `queue_status` while it is pending."""
    waits = queue_status or {}
    blocked_by = waits.get("blocked_by")
    return bodies.Task(
        **_state(row),
        queue_position=waits.get("queue_position"),
        eta_seconds=waits.get("eta_seconds"),
        blocked_by=None if blocked_by is None else _told(blocked_by, None),
    )


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
        "credits_charged": row["charged"],
        "attempt_count": row["attempt_count"],
        "error": _error(row),
        "created_at": row["created_at"],
        "expires_at": row["expires_at"],
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
        "needs": bodies.TaskNeeds.model_validate(row["needs"] or {}),
        "instance_count": row["instance_count"],
        "summary": row["summary"],
    }


def _error(row: Row) -> bodies.TaskError | None:
    """Why it failed or expired. A task that will be tried again carries no error."""
    ended_badly = row["status"] == TaskStatus.FAILED or (
        row["status"] == TaskStatus.CANCELLED and row["error_code"] is not None
    )
    return _told(row["error_code"], row["error_message"]) if ended_badly else None


def _told(code_of_row: str | None, message: str | None) -> bodies.TaskError:
    """A code of the database, which may be newer than this server, as the contract's error."""
    known = {code.value: code for code in ErrorCode}
    code = known.get(code_of_row or "", ErrorCode.INTERNAL)
    fact = FACTS[code]
    return bodies.TaskError(code=code, message=message or fact.message, retryable=fact.retryable)
