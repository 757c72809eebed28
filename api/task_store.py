"""The API's calls about tasks and results; each is made with the caller's own token."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from adapters.rest import Rest
from api import cursor, rows
from api.auth import Principal
from api.problems import Problem
from api.queries import ResultsQuery
from s3_sam3.contracts import bodies, prompts
from s3_sam3.contracts.errors import ErrorCode
from s3_sam3.contracts.prompts import SegmentOptions
from s3_sam3.contracts.tasks import TaskStatus


_TABLE: Final = "segmentation_results"
_OPTION_NAMES: Final = frozenset(SegmentOptions.model_fields)
_LATER_OPTIONS: Final = frozenset({"min_area", "nms", "region", "tiles", "floor"})
_LATER_FIELDS: Final = frozenset({"deadline_seconds", "needs"})
"""Fields that came after the first release; the hash of a body without them is the first one's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A task that is in the queue, now or since an earlier request with the same key."""

    row: rows.Row
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
            "p_options": options(request),
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


def options(request: bodies.SegmentRequest) -> dict[str, Any]:
    """
    The options as the queue keeps them: of the later ones only what is asked.

    So a worker of the release before, which refuses what it does not know, still does the rest.
    """
    first = _OPTION_NAMES - _LATER_OPTIONS
    return request.model_dump(mode="json", include=set(first)) | _later_options(request)


def needs(request: bodies.SegmentRequest, pixels: int | None) -> dict[str, Any]:
    """What a machine must have for the task, as the queue keeps it: only what is asked."""
    asked = _needs_asked(request)
    return asked if pixels is None else {**asked, "pixels": pixels}


def request_hash(request: bodies.SegmentRequest) -> str:
    """
    Two bodies that mean the same have the same hash: sha256 of the canonical JSON.

    What the service finds out by itself is no part of it, nor is a later field that is not used:
    the same body has one hash before and after an update, or a retry across it would be refused.
    """
    meant = request.model_dump(mode="json", exclude=set(_LATER_FIELDS | _LATER_OPTIONS))
    meant |= _later_options(request)
    later = {"deadline_seconds": request.deadline_seconds, "needs": _needs_asked(request)}
    meant |= {name: value for name, value in later.items() if value}
    canonical = json.dumps(meant, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _later_options(request: bodies.SegmentRequest) -> dict[str, Any]:
    return {
        name: value
        for name, value in request.model_dump(mode="json", include=set(_LATER_OPTIONS)).items()
        if value != SegmentOptions.model_fields[name].default
    }


def _needs_asked(request: bodies.SegmentRequest) -> dict[str, Any]:
    return request.needs.model_dump(mode="json", exclude_none=True) if request.needs else {}


async def read(rest: Rest, who: Principal, task_id: UUID) -> rows.Row:
    """Read one row. Raises: Problem with NOT_FOUND, for another user's row as well."""
    row = await rest.select_one(_TABLE, who.token, columns=rows.RESULT_COLUMNS, id=str(task_id))
    if row is None:
        raise Problem(ErrorCode.NOT_FOUND)
    return row


async def queue_status(rest: Rest, who: Principal, row: rows.Row) -> rows.Row:
    """What no row holds of a pending task: `queue_position`, `eta_seconds` and `blocked_by`."""
    if row["status"] != TaskStatus.PENDING:
        return {}
    answer: rows.Row | None = await rest.rpc(
        "queue_status", {"p_id": row["id"]}, who.token, idempotent=True
    )
    return answer or {}


async def page(rest: Rest, who: Principal, query: ResultsQuery) -> bodies.ResultPage:
    """Read one page, newest first."""
    select = rest.table(_TABLE, who.token).select(rows.RESULT_COLUMNS)
    if query.status is not None:
        select = select.eq("status", query.status.value)
    if query.project_id is not None:
        select = select.eq("project_id", str(query.project_id))
    if query.cursor is not None:
        created_at, row_id = cursor.decode_time_and_id(query.cursor)
        select = select.or_(
            f'created_at.lt."{created_at}",and(created_at.eq."{created_at}",id.lt.{row_id})'
        )
    # One row more than asked for tells whether there is a next page.
    select = select.order("created_at", desc=True).order("id", desc=True).limit(query.limit + 1)
    found: list[Any] = list((await select.execute()).data)
    shown = found[: query.limit]
    more = len(found) > query.limit
    return bodies.ResultPage(
        items=tuple(rows.result(row) for row in shown),
        next_cursor=cursor.encode(shown[-1]["created_at"], shown[-1]["id"]) if more else None,
    )


async def cancel(rest: Rest, who: Principal, task_id: UUID) -> None:
    """Cancel a pending or processing task. Raises: Problem with ALREADY_FINAL."""
    answer = await rest.rpc("cancel_task", {"p_id": str(task_id)}, who.token)
    if answer == ErrorCode.ALREADY_FINAL:
        raise Problem(ErrorCode.ALREADY_FINAL)


async def delete(rest: Rest, who: Principal, task_id: UUID) -> None:
    """Delete a row. The same transaction notes its objects in the outbox of deletions."""
    await rest.rpc("delete_result", {"p_id": str(task_id)}, who.token)
