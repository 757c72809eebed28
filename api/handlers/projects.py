"""The five operations of `/api/v1/projects`; each is one call."""

from aiohttp import web

from api import account_store, answers, incoming, keys
from s3_sam3.contracts import bodies


async def list_projects(request: web.Request) -> web.Response:
    """Answer all projects of the caller."""
    who = request[keys.PRINCIPAL]
    return answers.ok(request, await account_store.list_projects(request.app[keys.REST], who))


async def create_project(request: web.Request) -> web.Response:
    """Add a project."""
    body = await incoming.body(request, bodies.ProjectRequest)
    who = request[keys.PRINCIPAL]
    project = await account_store.create_project(request.app[keys.REST], who, body)
    headers = {"Location": f"/api/v1/projects/{project.id}"}
    return answers.ok(request, project, status=201, headers=headers)


async def get_project(request: web.Request) -> web.Response:
    """Answer one project."""
    project_id = incoming.path_id(request)
    who = request[keys.PRINCIPAL]
    project = await account_store.read_project(request.app[keys.REST], who, project_id)
    return answers.ok(request, project)


async def rename_project(request: web.Request) -> web.Response:
    """Change a project's name."""
    project_id = incoming.path_id(request)
    body = await incoming.body(request, bodies.ProjectRequest)
    who = request[keys.PRINCIPAL]
    project = await account_store.rename_project(request.app[keys.REST], who, project_id, body)
    return answers.ok(request, project)


async def delete_project(request: web.Request) -> web.Response:
    """Delete a project; its results stay, outside any project."""
    project_id = incoming.path_id(request)
    who = request[keys.PRINCIPAL]
    await account_store.delete_project(request.app[keys.REST], who, project_id)
    return answers.ok(request, bodies.Deleted(id=project_id))
