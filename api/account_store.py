"""The API's calls about the caller: projects, credits, ledger; made with the caller's token."""

from typing import Any, Final
from uuid import UUID

from adapters.rest import Rest
from api import cursor
from api.auth import Principal
from api.problems import Problem
from api.queries import PageQuery
from s3_sam3.contracts import bodies
from s3_sam3.contracts.errors import ErrorCode


_PROJECT_COLUMNS: Final = "id,name,created_at,updated_at"


async def list_projects(rest: Rest, who: Principal) -> bodies.ProjectList:
    """Read all projects, newest first."""
    select = rest.table("projects", who.token).select(_PROJECT_COLUMNS)
    answer = await select.order("created_at", desc=True).order("id", desc=True).execute()
    return bodies.ProjectList(items=tuple(_project(row) for row in answer.data))


async def create_project(
    rest: Rest, who: Principal, request: bodies.ProjectRequest
) -> bodies.Project:
    """Add a project."""
    row = {"name": request.name, "user_id": str(who.user_id)}
    answer = await rest.table("projects", who.token).insert(row).select(_PROJECT_COLUMNS).execute()
    return _only(answer.data)


async def read_project(rest: Rest, who: Principal, project_id: UUID) -> bodies.Project:
    """Read one project. Raises: Problem with NOT_FOUND."""
    select = rest.table("projects", who.token).select(_PROJECT_COLUMNS)
    return _only((await select.eq("id", str(project_id)).execute()).data)


async def rename_project(
    rest: Rest, who: Principal, project_id: UUID, request: bodies.ProjectRequest
) -> bodies.Project:
    """Change a project's name. Raises: Problem with NOT_FOUND."""
    update = rest.table("projects", who.token).update({"name": request.name})
    answer = await update.eq("id", str(project_id)).select(_PROJECT_COLUMNS).execute()
    return _only(answer.data)


async def delete_project(rest: Rest, who: Principal, project_id: UUID) -> None:
    """Delete a project; its results stay, outside any project. Raises: Problem with NOT_FOUND."""
    delete = rest.table("projects", who.token).delete().eq("id", str(project_id))
    _only((await delete.select(_PROJECT_COLUMNS).execute()).data)


async def read_me(rest: Rest, who: Principal) -> bodies.Me:
    """Read the caller's tier and credits. Raises: Problem with NOT_FOUND (account deleted)."""
    columns = "id,tier,credits"
    row = await rest.select_one("users_profile", who.token, columns=columns, id=str(who.user_id))
    if row is None:
        raise Problem(ErrorCode.NOT_FOUND)
    return bodies.Me(user_id=row["id"], email=who.email, tier=row["tier"], credits=row["credits"])


async def usage_page(rest: Rest, who: Principal, query: PageQuery) -> bodies.UsagePage:
    """Read one page of the ledger, newest first."""
    columns = "id,action,credits_used,result_id,created_at"
    select = rest.table("usage_logs", who.token).select(columns)
    if query.cursor is not None:
        select = select.lt("id", cursor.decode_number(query.cursor))
    answer = await select.order("id", desc=True).limit(query.limit + 1).execute()
    found: list[Any] = list(answer.data)
    shown = found[: query.limit]
    more = len(found) > query.limit
    return bodies.UsagePage(
        items=tuple(bodies.UsageEntry.model_validate(row) for row in shown),
        next_cursor=cursor.encode(shown[-1]["id"]) if more else None,
    )


def _project(row: Any) -> bodies.Project:
    return bodies.Project.model_validate(row)


def _only(found: Any) -> bodies.Project:
    if not found:
        raise Problem(ErrorCode.NOT_FOUND)
    return _project(found[0])
