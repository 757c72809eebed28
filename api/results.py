"""`/api/v1/results`: list, read with signed URLs, re-threshold, delete."""

from typing import Final
from uuid import UUID

from aiohttp import web

from adapters.objects import ObjectStore
from api import answers, keys, pages, parsing, task_store
from api.problems import Problem
from api.route import Route
from s3_sam3.contracts import bodies, limits
from s3_sam3.contracts.errors import ErrorCode
from s3_sam3.contracts.tasks import TaskStatus


class ResultsQuery(pages.PageQuery):
    """One page of results, of one status or one project if wanted."""

    status: TaskStatus | None = None
    project_id: UUID | None = None


async def list_results(request: web.Request) -> web.Response:
    """Answer one page of the caller's results, newest first."""
    query = parsing.query(request, ResultsQuery)
    table = request.app[keys.REST].table(task_store.TABLE, request[keys.PRINCIPAL].token)
    select = table.select(task_store.COLUMNS)
    if query.status is not None:
        select = select.eq("status", query.status.value)
    if query.project_id is not None:
        select = select.eq("project_id", str(query.project_id))
    found, next_cursor = await pages.fetch(select, query, pages.BY_TIME)
    items = tuple(task_store.result(row) for row in found)
    return answers.ok(request, bodies.ResultPage(items=items, next_cursor=next_cursor))


async def get_result(request: web.Request) -> web.Response:
    """Answer one result with URLs that are signed now and valid for 15 minutes."""
    row = await _read(request, parsing.path_id(request))
    store = request.app[keys.OBJECTS]
    detail = task_store.detail(
        row,
        source_download_url=_signed(store, row["source_image_url"]),
        manifest_download_url=_signed(store, row["manifest_url"]),
        mask_download_url=_signed(store, row["mask_image_url"]),
        overlay_download_url=_signed(store, row["overlay_image_url"]),
    )
    return answers.ok(request, detail)


async def delete_result(request: web.Request) -> web.Response:
    """
    Delete a result; its objects follow.

    The objects are not deleted here: a request that dies half-way would leave them behind. The
    row's transaction notes them in an outbox, and the janitor retries until they are gone.
    """
    task_id = parsing.path_id(request)
    await task_store.delete(request.app[keys.REST], request[keys.PRINCIPAL], task_id)
    return answers.ok(request, bodies.Deleted(id=task_id))


async def rethreshold_result(request: web.Request) -> web.Response:
    """Apply other thresholds to a stored result, without the model; free, and stores nothing."""
    app = request.app
    task_id = parsing.path_id(request)
    body = await parsing.body(request, bodies.RethresholdRequest)
    row = await _read(request, task_id)
    if row["status"] != TaskStatus.DONE:
        raise Problem(ErrorCode.NOT_DONE, {"status": row["status"]})
    data = await app[keys.RETHRESHOLDER].rethreshold(
        app[keys.OBJECTS], row["manifest_url"], task_id, body
    )
    return answers.ok_json(request, data)


async def _read(request: web.Request, task_id: UUID) -> task_store.Row:
    return await task_store.read(request.app[keys.REST], request[keys.PRINCIPAL], task_id)


def _signed(store: ObjectStore, key: str | None) -> str | None:
    return None if key is None else store.sign_get(key, limits.SIGNED_URL_SECONDS)


_RESULT: Final = "/api/v1/results/{id}"

ROUTES: Final = (
    Route("GET", "/api/v1/results", list_results, bodies.ResultPage, query=ResultsQuery),
    Route("GET", _RESULT, get_result, bodies.ResultDetail),
    Route("DELETE", _RESULT, delete_result, bodies.Deleted),
    Route(
        "POST",
        f"{_RESULT}/rethreshold",
        rethreshold_result,
        bodies.Rethresholded,
        request=bodies.RethresholdRequest,
        errors=(ErrorCode.NOT_DONE,),
    ),
)
