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
from contracts import bodies, prompts
from contracts.errors import ErrorCode
from contracts.prompts import SegmentOptions
from contracts.tasks import TaskStatus


_TABLE: Final = "segmentation_results"
_OPTION_NAMES: Final = frozenset(SegmentOptions.model_fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A task that is in the queue, now or since an earlier request with the same key."""

    row: rows.Row
    replayed: bool


async def submit(
    rest: Rest, who: Principal, request: bodies.SegmentRequest, idempotency_key: str | None
) -> Submission:
    """Queue a task and hold its credits, or find the one of the same key; one transaction."""
    answer = await rest.rpc(
        "submit_task",
        {
            "p_source_image_url": request.image_url,
            "p_prompts": [
                prompt.model_dump(mode="json") for prompt in prompts.with_ids(request.all_prompts)
            ],
            "p_options": request.model_dump(mode="json", include=set(_OPTION_NAMES)),
            "p_text_prompt": request.text_prompt,
            "p_project_id": None if request.project_id is None else str(request.project_id),
            "p_idempotency_key": idempotency_key,
            "p_request_hash": request_hash(request),
        },
        who.token,
        # Only a key makes a second call harmless.
        idempotent=idempotency_key is not None,
    )
    return Submission(row=answer["task"], replayed=answer["replayed"])


def request_hash(request: bodies.SegmentRequest) -> str:
    """Two bodies that mean the same have the same hash: sha256 of the canonical JSON."""
    canonical = json.dumps(request.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


async def read(rest: Rest, who: Principal, task_id: UUID) -> rows.Row:
    """Read one row. Raises: Problem with NOT_FOUND, for another user's row as well."""
    row = await rest.select_one(_TABLE, who.token, columns=rows.RESULT_COLUMNS, id=str(task_id))
    if row is None:
        raise Problem(ErrorCode.NOT_FOUND)
    return row


async def queue_position(rest: Rest, who: Principal, row: rows.Row) -> int | None:
    """How many pending tasks are in front of a pending one."""
    if row["status"] != TaskStatus.PENDING:
        return None
    answer: int | None = await rest.rpc(
        "queue_position", {"p_id": row["id"]}, who.token, idempotent=True
    )
    return answer


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


async def delete(rest: Rest, who: Principal, task_id: UUID) -> tuple[str, ...]:
    """Delete a row and answer the prefixes of its objects, which nobody can reach any more."""
    answer = await rest.rpc("delete_result", {"p_id": str(task_id)}, who.token)
    owned = f"results/{who.user_id}/{task_id}/"
    # Whatever the database says, only this result's own folder is ever deleted.
    return tuple(prefix for prefix in answer["object_prefixes"] if prefix.startswith(owned))
