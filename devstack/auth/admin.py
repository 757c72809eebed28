"""What the service key may do to users."""

import datetime as dt
import secrets
import uuid

from aiohttp import web

from devstack.auth import bodies, errors, passwords, users, wire


DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE = 50, 1000


async def create(request: web.Request) -> web.Response:
    """`POST /admin/users`: a new user; without a password nobody can sign in as them."""
    wire.require_admin(request)
    body = await bodies.read(request, bodies.AdminUser)
    email = bodies.checked_email(body.email or "")
    password = bodies.checked_password(body.password or secrets.token_urlsafe(32))
    app_metadata = {"provider": "email", "providers": ["email"], **(body.app_metadata or {})}
    new = users.NewUser(
        id=_uuid(body.id) if body.id else uuid.uuid4(),
        email=email,
        password_hash=await passwords.hashed(password),
        confirmed=body.email_confirm,
        app_metadata=app_metadata,
        user_metadata=body.user_metadata or {},
        role=body.role or "authenticated",
    )
    async with wire.transaction(request) as cursor:
        user = await users.create(cursor, new, errors.EmailExistsError)
    return web.json_response(users.to_wire(user))


async def page(request: web.Request) -> web.Response:
    """`GET /admin/users?page&per_page`: users, newest first."""
    wire.require_admin(request)
    number = max(1, _number(request, "page", 1))
    size = min(max(1, _number(request, "per_page", DEFAULT_PAGE_SIZE)), MAX_PAGE_SIZE)
    async with wire.transaction(request) as cursor:
        rows, total = await users.page(cursor, number, size)
    body = {"users": [users.to_wire(row) for row in rows], "aud": "authenticated"}
    headers = {"X-Total-Count": str(total), "Link": link(request.path, number, size, total)}
    return web.json_response(body, headers=headers)


async def see(request: web.Request) -> web.Response:
    """`GET /admin/users/{id}`: one user."""
    wire.require_admin(request)
    async with wire.transaction(request) as cursor:
        user = await users.get(cursor, _uuid(request.match_info["id"]))
    return web.json_response(users.to_wire(user))


async def change(request: web.Request) -> web.Response:
    """`PUT /admin/users/{id}`: changes what is given; metadata is merged key by key."""
    wire.require_admin(request)
    user_id = _uuid(request.match_info["id"])
    body = await bodies.read(request, bodies.AdminUser)
    async with wire.transaction(request) as cursor:
        user = await users.get(cursor, user_id)
        values: dict[str, object] = {}
        if body.email:
            values["email"] = bodies.checked_email(body.email)
        if body.password:
            password = bodies.checked_password(body.password)
            values["encrypted_password"] = await passwords.hashed(password)
        if body.email_confirm and user["email_confirmed_at"] is None:
            values["email_confirmed_at"] = dt.datetime.now(dt.UTC)
        if body.role:
            values["role"] = body.role
        for column, changes in (
            ("raw_user_meta_data", body.user_metadata),
            ("raw_app_meta_data", body.app_metadata),
        ):
            if changes is not None:
                values[column] = users.merged(user[column], changes)
        user = await users.change(cursor, user_id, values, errors.EmailExistsError)
    return web.json_response(users.to_wire(user))


async def delete(request: web.Request) -> web.Response:
    """`DELETE /admin/users/{id}`: and rows that reference it with `on delete cascade`."""
    wire.require_admin(request)
    user_id = _uuid(request.match_info["id"])
    async with wire.transaction(request) as cursor:
        await cursor.execute("delete from auth.users where id = %s", (user_id,))
        if cursor.rowcount == 0:
            raise errors.UserNotFoundError
    return web.json_response({})


def link(path: str, number: int, size: int, total: int) -> str:
    """The Link header of a page, by which clients find the next one."""
    last = max(1, -(-total // size))
    targets = {"next": number + 1, "last": last} if number < last else {"last": last}
    return ", ".join(
        f'<{path}?page={target}&per_page={size}>; rel="{name}"' for name, target in targets.items()
    )


def _uuid(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError as error:
        raise errors.ValidationFailedError("user_id must be an UUID") from error


def _number(request: web.Request, name: str, default: int) -> int:
    try:
        return int(request.query.get(name) or default)
    except ValueError as error:
        raise errors.ValidationFailedError(f"{name} must be a number") from error
