"""
Restart, kill or pause a program of the stack, to see what its failure does to others.

`POST /devstack/v1/programs/{program}/{order}` with the service key: `restart`, `kill` (a restart by
SIGKILL), `pause`, `resume`. The answer comes when it is done.
"""

import http
import json
import urllib.error
import urllib.request
from typing import Final

from aiohttp import web

from devstack import context, errors
from devstack.supervisor import Supervisor


ORDERS: Final = ("restart", "kill", "pause", "resume")
PATH: Final = "/devstack/v1/programs"

#: A restart waits for crash recovery.
ANSWER_SECONDS: Final = 90.0

SUPERVISOR = web.AppKey("supervisor", Supervisor)


def add_routes(app: web.Application, supervisor: Supervisor) -> None:
    """Let *app* take orders for the programs of *supervisor*."""
    app[SUPERVISOR] = supervisor
    app.router.add_post(f"{PATH}/{{program}}/{{order}}", carry_out)


async def carry_out(request: web.Request) -> web.Response:
    if context.claims_of(request).get("role") != "service_role":
        raise web.HTTPForbidden(reason="Only the service key may give orders")
    supervisor = request.app[SUPERVISOR]
    program, order = request.match_info["program"], request.match_info["order"]
    if program not in supervisor.names or order not in ORDERS:
        known = f"{' '.join(ORDERS)}; programs: {' '.join(supervisor.names)}"
        raise web.HTTPNotFound(reason=f"No such order. Orders: {known}")
    if order == "pause":
        await supervisor.pause(program)
    elif order == "resume":
        await supervisor.resume(program)
    else:
        await supervisor.restart(program, kill=order == "kill")
    return web.json_response({"program": program, "order": order})


def send(url: str, service_key: str, program: str, order: str) -> None:
    """Send an order to the devstack at *url* and wait until it is done. Raises: StackError."""
    request = urllib.request.Request(  # noqa: S310  our own address
        f"{url}{PATH}/{program}/{order}", method="POST", headers={"apikey": service_key}
    )
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_SECONDS):  # noqa: S310  as above
            return
    except urllib.error.HTTPError as error:
        raise errors.StackError(_reason(error)) from error
    except OSError as error:
        raise errors.NotRunningError(f"The devstack at {url} does not answer: {error}") from error


def _reason(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(error.read())["message"])
    except (ValueError, KeyError):
        return http.HTTPStatus(error.code).phrase
