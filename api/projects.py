"""`/api/v1/projects`: each operation is one call to the database, with the caller's own token."""

from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from api import answers, keys, parsing
from api.problems import Problem
from api.route import Route
from s3_sam3.contracts import bodies
from s3_sam3.contracts.errors import ErrorCode


_COLUMNS: Final = "id,name,created_at,updated_at"


async def list_projects(request: web.Request) -> web.Response:
    """Answer all projects of the caller, newest first."""
    select = _table(request).select(_COLUMNS)
    answer = await select.order("created_at", desc=True).order("id", desc=True).execute()
    items = tuple(bodies.Project.model_validate(row) for row in answer.data)
    return answers.ok(request, bodies.ProjectList(items=items))


async def create_project(request: web.Request) -> web.Response:
    """Add a project."""
    body = await parsing.body(request, bodies.ProjectRequest)
    row = {"name": body.name, "user_id": str(request[keys.PRINCIPAL].user_id)}
    project = await _only(_table(request).insert(row).select(_COLUMNS))
    headers = {"Location": f"/api/v1/projects/{project.id}"}
    return answers.ok(request, project, status=HTTPStatus.CREATED, headers=headers)


async def get_project(request: web.Request) -> web.Response:
    """Answer one project."""
    project_id = parsing.path_id(request)
    project = await _only(_table(request).select(_COLUMNS).eq("id", str(project_id)))
    return answers.ok(request, project)


async def rename_project(request: web.Request) -> web.Response:
    """Change a project's name."""
    project_id = parsing.path_id(request)
    body = await parsing.body(request, bodies.ProjectRequest)
    update = _table(request).update({"name": body.name}).eq("id", str(project_id))
    return answers.ok(request, await _only(update.select(_COLUMNS)))


async def delete_project(request: web.Request) -> web.Response:
    """Delete a project; its results stay, outside any project."""
    project_id = parsing.path_id(request)
    await _only(_table(request).delete().eq("id", str(project_id)).select(_COLUMNS))
    return answers.ok(request, bodies.Deleted(id=project_id))


def _table(request: web.Request) -> Any:
    return request.app[keys.REST].table("projects", request[keys.PRINCIPAL].token)


async def _only(call: Any) -> bodies.Project:
    """Read the one row that *call* answers. Raises: Problem with NOT_FOUND."""
    found = (await call.execute()).data
    if not found:
        raise Problem(ErrorCode.NOT_FOUND)
    return bodies.Project.model_validate(found[0])


_PROJECTS: Final = "/api/v1/projects"
_PROJECT: Final = "/api/v1/projects/{id}"

ROUTES: Final = (
    Route("GET", _PROJECTS, list_projects, bodies.ProjectList),
    Route(
        "POST",
        _PROJECTS,
        create_project,
        bodies.Project,
        status=HTTPStatus.CREATED,
        request=bodies.ProjectRequest,
    ),
    Route("GET", _PROJECT, get_project, bodies.Project),
    Route("PATCH", _PROJECT, rename_project, bodies.Project, request=bodies.ProjectRequest),
    Route("DELETE", _PROJECT, delete_project, bodies.Deleted),
)
