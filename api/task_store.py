"""The API's calls about tasks and results; each is made with the caller's own token."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from adapters.rest import Rest
from api.auth import Principal
from api.problems import Problem
from s3_sam3.contracts import bodies, prompts
from s3_sam3.contracts.errors import FACTS, ErrorCode
from s3_sam3.contracts.prompts import SegmentOptions
from s3_sam3.contracts.tasks import TaskStatus


Row = dict[str, Any]

TABLE: Final = "segmentation_results"

STATE_COLUMNS: Final = (
    "id,status,progress,cost,charged,attempt_count,error_code,error_message,"
    "created_at,expires_at,started_at,finished_at"
)
COLUMNS: Final = (
    f"{STATE_COLUMNS},"
    "project_id,source_image_url,text_prompt,prompts,options,needs,"
    "instance_count,summary,mask_image_url,overlay_image_url,manifest_url"
)
"""Named, never `*`: columns are granted one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A task that is in the queue, now or since an earlier request with the same key."""

    row: Row
    replayed: bool


async def submit(
    rest: Rest,
    who: Principal,
    request: bodies.SegmentRequest,
    *,
    idempotency_key: str | None,
    pixels: int | None,
) -> Submission:
    """
    Queue a task and hold its credits, or find the one of the same key; one transaction.

    *pixels* of the picture, where they are known, are a need like those that the caller names.
    """
    answer = await rest.rpc(
        "submit_task",
        {
            "p_source_image_url": request.image_url,
            "p_prompts": [
                prompt.model_dump(mode="json") for prompt in prompts.with_ids(request.all_prompts)
            ],
            "p_options": request.model_dump(mode="json", include=set(SegmentOptions.model_fields)),
            "p_text_prompt": request.text_prompt,
            "p_project_id": None if request.project_id is None else str(request.project_id),
            "p_idempotency_key": idempotency_key,
            "p_request_hash": request_hash(request),
            "p_deadline_seconds": request.deadline_seconds,
            "p_needs": needs(request, pixels),
        },
        who.token,
        # Only a key makes a second call harmless.
        idempotent=idempotency_key is not None,
    )
    return Submission(row=answer["task"], replayed=answer["replayed"])


def needs(request: bodies.SegmentRequest, pixels: int | None) -> dict[str, Any]:
    """What a machine must have for the task; absent needs are left out."""
    named = request.needs.model_dump(mode="json", exclude_none=True) if request.needs else {}
    return named if pixels is None else {**named, "pixels": pixels}


def request_hash(request: bodies.SegmentRequest) -> str:
    """
    Sha256 of the request's canonical JSON: two bodies that mean the same have the same hash.

    Only the caller's words count, not what the service finds out itself, such as the pixels.
    """
    meant = request.model_dump(mode="json") | {"needs": needs(request, None)}
    canonical = json.dumps(meant, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


async def read(rest: Rest, who: Principal, task_id: UUID) -> Row:
    """Read one row. Raises: Problem with NOT_FOUND, for another user's row as well."""
    row = await rest.select_one(TABLE, who.token, columns=COLUMNS, id=str(task_id))
    if row is None:
        raise Problem(ErrorCode.NOT_FOUND)
    return row


async def read_states(rest: Rest, who: Principal, ids: Iterable[str]) -> dict[str, Row]:
    """Read by id what `task` needs of the rows that are there, in one query."""
    select = rest.table(TABLE, who.token).select(STATE_COLUMNS).in_("id", list(ids))
    rows: list[Any] = list((await select.execute()).data)
    return {row["id"]: row for row in rows}


async def queue_status(rest: Rest, who: Principal, row: Row) -> Row:
    """What no row holds of a pending task: `queue_position`, `eta_seconds` and `blocked_by`."""
    if row["status"] != TaskStatus.PENDING:
        return {}
    answer: Row | None = await rest.rpc(
        "queue_status", {"p_id": row["id"]}, who.token, idempotent=True
    )
    return answer or {}


async def cancel(rest: Rest, who: Principal, task_id: UUID) -> None:
    """Cancel a pending or processing task. Raises: Problem with ALREADY_FINAL."""
    answer = await rest.rpc("cancel_task", {"p_id": str(task_id)}, who.token)
    if answer == ErrorCode.ALREADY_FINAL:
        raise Problem(ErrorCode.ALREADY_FINAL)


async def delete(rest: Rest, who: Principal, task_id: UUID) -> None:
    """Delete a row. The same transaction notes its objects in the outbox of deletions."""
    await rest.rpc("delete_result", {"p_id": str(task_id)}, who.token)


def task(row: Row, queue_status: Row | None = None) -> bodies.Task:
    """A row as the state of a task, with the answer of `queue_status` while it is pending."""
    waits = dict(queue_status or {})
    if waits.get("blocked_by") is not None:
        waits["blocked_by"] = _task_error(waits["blocked_by"], None)
    return bodies.Task.model_validate({**_state(row), **waits})


def result(row: Row) -> bodies.Result:
    """A row as a result: its state, the request, and what was found."""
    return bodies.Result.model_validate(_result(row))


def detail(row: Row, **download_urls: str | None) -> bodies.ResultDetail:
    """A result with URLs of its objects."""
    return bodies.ResultDetail.model_validate({**_result(row), **download_urls})


def _state(row: Row) -> Row:
    """The columns, and those under the contract's names that are called otherwise."""
    return {
        **row,
        "task_id": row["id"],
        "credits": row["cost"],
        "credits_charged": row["charged"],
        "error": _error(row),
    }


def _result(row: Row) -> Row:
    return {
        **_state(row),
        "image_url": row["source_image_url"],
        "options": row["options"] or {},
        "needs": row["needs"] or {},
    }


def _error(row: Row) -> bodies.TaskError | None:
    """Why it failed or expired. A task that will be tried again carries no error."""
    ended_badly = row["status"] == TaskStatus.FAILED or (
        row["status"] == TaskStatus.CANCELLED and row["error_code"] is not None
    )
    return _task_error(row["error_code"], row["error_message"]) if ended_badly else None


def _task_error(code_of_row: str | None, message: str | None) -> bodies.TaskError:
    """A code of the database, which may be newer than this server, as the contract's error."""
    known = {code.value: code for code in ErrorCode}
    code = known.get(code_of_row or "", ErrorCode.INTERNAL)
    fact = FACTS[code]
    return bodies.TaskError(code=code, message=message or fact.message, retryable=fact.retryable)
