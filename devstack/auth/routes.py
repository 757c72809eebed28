"""The table of `/auth/v1`."""

from aiohttp import web

from devstack import context
from devstack.auth import account, admin, errors, wire


PREFIX = "/auth/v1"

#: As hosted with email confirmation turned off, and nothing but email.
SETTINGS = {
    "external": {"email": True, "phone": False, "anonymous_users": False},
    "disable_signup": False,
    "mailer_autoconfirm": True,
    "phone_autoconfirm": False,
    "sms_provider": "",
    "saml_enabled": False,
}


def add_routes(app: web.Application) -> None:
    app.router.add_get(f"{PREFIX}/.well-known/jwks.json", jwks)
    for method, path, handler in (
        ("GET", "/health", health),
        ("GET", "/settings", settings),
        ("POST", "/signup", account.sign_up),
        ("POST", "/token", account.grant),
        ("GET", "/user", account.see),
        ("PUT", "/user", account.change),
        ("POST", "/logout", account.sign_out),
        ("POST", "/admin/users", admin.create),
        ("GET", "/admin/users", admin.page),
        ("GET", "/admin/users/{id}", admin.see),
        ("PUT", "/admin/users/{id}", admin.change),
        ("DELETE", "/admin/users/{id}", admin.delete),
        ("*", "/{rest:.*}", unsupported),
    ):
        app.router.add_route(method, PREFIX + path, wire.endpoint(handler))


async def jwks(request: web.Request) -> web.Response:
    """`GET /.well-known/jwks.json`: the public key; no API key is needed."""
    signer = request.config_dict[context.CONTEXT].tokens
    headers = {"Cache-Control": "public, max-age=600"}
    return web.json_response({"keys": [signer.public_jwk()]}, headers=headers)


async def health(_request: web.Request) -> web.Response:
    """`GET /health`: who answers."""
    description = "GoTrue's wire, spoken by the devstack"
    return web.json_response({"version": "devstack", "name": "GoTrue", "description": description})


async def settings(_request: web.Request) -> web.Response:
    """`GET /settings`: what sign-in offers."""
    return web.json_response(SETTINGS)


async def unsupported(request: web.Request) -> web.Response:
    """Everything else of GoTrue."""
    raise errors.NotSupportedError(
        f"The devstack signs users in by password only; it has no {request.method} {request.path}."
    )
