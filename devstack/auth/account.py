"""Routes for users: sign up, sign in, refresh, read and change themselves, sign out."""

import uuid

from aiohttp import web

from devstack import context
from devstack.auth import bodies, errors, passwords, sessions, users, wire


async def sign_up(request: web.Request) -> web.Response:
    """`POST /signup`: a new user, confirmed at once and signed in."""
    body = await bodies.read(request, bodies.Credentials)
    if body.phone:
        raise errors.NotSupportedError
    if not body.email:
        raise errors.AnonymousDisabledError
    if not body.password:
        raise errors.ValidationFailedError("Signup requires a valid password")
    email = bodies.checked_email(body.email)
    user_id = uuid.uuid4()
    new = users.NewUser(
        id=user_id,
        email=email,
        password_hash=await passwords.hashed(bodies.checked_password(body.password)),
        confirmed=True,
        app_metadata={"provider": "email", "providers": ["email"]},
        user_metadata={**(body.data or {}), **users.identity_data(user_id, email)},
    )
    async with wire.transaction(request) as cursor:
        user = await users.create(cursor, new, errors.UserExistsError)
        session = await sessions.begin(cursor, user)
    return _signed_in(request, session)


async def grant(request: web.Request) -> web.Response:
    """`POST /token?grant_type=password|refresh_token`: a session."""
    grants = {"password": _by_password, "refresh_token": _by_refresh_token}
    by = grants.get(request.query.get("grant_type", ""))
    if by is None:
        raise errors.UnsupportedGrantError
    return _signed_in(request, await by(request))


async def see(request: web.Request) -> web.Response:
    """`GET /user`: the caller."""
    caller = wire.caller_of(request)
    async with wire.transaction(request) as cursor:
        user = await sessions.require(cursor, caller)
    return web.json_response(users.to_wire(user))


async def change(request: web.Request) -> web.Response:
    """`PUT /user`: another email, password, or metadata; a new password ends other sessions."""
    caller = wire.caller_of(request)
    body = await bodies.read(request, bodies.UserUpdate)
    async with wire.transaction(request) as cursor:
        user = await sessions.require(cursor, caller)
        values: dict[str, object] = {}
        if body.email:
            values["email"] = bodies.checked_email(body.email)
        if body.data is not None:
            values["raw_user_meta_data"] = users.merged(user["raw_user_meta_data"], body.data)
        if body.password is not None:
            password = bodies.checked_password(body.password)
            if await passwords.matches(password, user["encrypted_password"]):
                raise errors.SamePasswordError
            values["encrypted_password"] = await passwords.hashed(password)
            await sessions.end(cursor, caller, "others")
        user = await users.change(cursor, caller.user_id, values, errors.EmailExistsError)
    return web.json_response(users.to_wire(user))


async def sign_out(request: web.Request) -> web.Response:
    """`POST /logout?scope=global|local|others`: ends sessions; access tokens live on till `exp`."""
    caller = wire.caller_of(request)
    async with wire.transaction(request) as cursor:
        await sessions.require(cursor, caller)
        await sessions.end(cursor, caller, request.query.get("scope", "global"))
    return web.Response(status=204)


async def _by_password(request: web.Request) -> sessions.Session:
    body = await bodies.read(request, bodies.Credentials)
    if body.phone:
        raise errors.NotSupportedError
    async with wire.transaction(request) as cursor:
        user = await users.find(cursor, body.email.strip().lower())
    if user is None or not await passwords.matches(body.password, user["encrypted_password"]):
        raise errors.InvalidCredentialsError
    async with wire.transaction(request) as cursor:
        return await sessions.begin(cursor, user)


async def _by_refresh_token(request: web.Request) -> sessions.Session:
    body = await bodies.read(request, bodies.Refresh)
    async with wire.transaction(request) as cursor:
        session = await sessions.refresh(cursor, body.refresh_token)
    if session is None:
        raise errors.RefreshTokenUsedError
    return session


def _signed_in(request: web.Request, session: sessions.Session) -> web.Response:
    signer = request.config_dict[context.CONTEXT].tokens
    return web.json_response(session.to_wire(signer))
