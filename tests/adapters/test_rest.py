"""PostgREST: what passes, what is repeated, and what every failure becomes."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import httpx
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from typing_extensions import override

from adapters import rest as rest_module
from adapters.rest import Rest, RestError, RestRefused, RestUnavailable
from devstack import testing


NewUser = Callable[..., Awaitable[testing.SignedUpUser]]


@pytest.fixture
async def rest(stack: testing.Stack) -> AsyncIterator[Rest]:
    """The devstack's PostgREST, with the anon key."""
    async with Rest(url=stack.url, key=stack.anon_key) as opened:
        yield opened


@dataclass
class Flaky:
    """A PostgREST that gives the listed answers in turn, then good ones."""

    answers: list[web.Response] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        """The next answer."""
        self.asked.append(request.method)
        return self.answers.pop(0) if self.answers else web.json_response([{"id": 1}])


@pytest.fixture
def flaky() -> Flaky:
    """A server that answers well until it is told otherwise."""
    return Flaky()


@pytest.fixture
async def weak(flaky: Flaky) -> AsyncIterator[Rest]:
    """A client of that server."""
    app = web.Application()
    app.router.add_route("*", "/{any:.*}", flaky.answer)
    async with TestServer(app) as server, Rest(url=str(server.make_url("")), key="key") as opened:
        yield opened


async def test_the_token_decides_who_asks(rest: Rest, new_user: NewUser) -> None:
    """Each sees their own profile and nobody else's; without a token the anon key asks."""
    me, other = await new_user(), await new_user()

    mine = await rest.select_one("users_profile", me.access_token, columns="credits", id=me.id)
    foreign = await rest.select_one("users_profile", other.access_token, id=me.id)

    assert mine == {"credits": 100}
    assert foreign is None
    with pytest.raises(RestRefused):
        await rest.select_one("users_profile", None, id=me.id)


async def test_our_functions_speak_in_error_codes(rest: Rest, new_user: NewUser) -> None:
    """A PTxyz error arrives with its status, its code, and the ErrorCode as message."""
    user = await new_user()

    with pytest.raises(RestRefused) as refusal:
        await rest.rpc("cancel_task", {"p_id": user.id}, user.access_token)

    error = refusal.value
    assert (error.status, error.code, error.message) == (404, "PT404", "not_found")
    assert error.details == "No task of yours has that id."


async def test_a_function_answers_its_value(rest: Rest, new_user: NewUser) -> None:
    """What it answers comes back as itself, null as None."""
    user = await new_user()

    answer = await rest.rpc("queue_status", {"p_id": user.id}, user.access_token)

    assert answer == {"queue_position": None, "eta_seconds": None, "blocked_by": None}


async def test_reads_are_repeated(weak: Rest, flaky: Flaky) -> None:
    """A reader does not notice two answers of 502."""
    flaky.answers = [web.Response(status=503), web.Response(status=502)]

    assert await weak.select_one("rows", "token") == {"id": 1}
    assert flaky.asked == ["GET"] * 3


async def test_reading_gives_up_in_the_end(weak: Rest, flaky: Flaky) -> None:
    """Three times is enough."""
    flaky.answers = [web.Response(status=503) for _ in range(3)]

    with pytest.raises(RestUnavailable):
        await weak.select_one("rows", "token")


async def test_writes_are_not_repeated(weak: Rest, flaky: Flaky) -> None:
    """A write that may have happened is not made again, unless it says that it may be."""
    flaky.answers = [web.Response(status=503)]
    with pytest.raises(RestUnavailable):
        await weak.rpc("claim", {}, "token")
    assert flaky.asked == ["POST"]

    flaky.answers = [web.Response(status=503)]
    assert await weak.rpc("renew", {}, "token", idempotent=True) == [{"id": 1}]
    assert flaky.asked == ["POST"] * 3


async def test_refusals_are_not_repeated(weak: Rest, flaky: Flaky) -> None:
    """Asking again would get the same no."""
    flaky.answers = [web.json_response({"message": "no", "code": "42501"}, status=403)]

    with pytest.raises(RestRefused) as refusal:
        await weak.select_one("rows", "token")

    assert (refusal.value.status, refusal.value.code) == (403, "42501")
    assert flaky.asked == ["GET"]


PAGES = {
    "a proxy's page": (web.Response(status=502, text="<html>"), RestUnavailable),
    "an empty refusal": (web.Response(status=400), RestRefused),
    "a list": (web.json_response([1], status=400), RestRefused),
}


@pytest.mark.parametrize("what", PAGES)
async def test_what_is_no_postgrest_error_is_one_of_ours(
    weak: Rest, flaky: Flaky, what: str
) -> None:
    """Any answer of 400 and above becomes a RestError with its status."""
    answer, kind = PAGES[what]
    flaky.answers = [answer]

    with pytest.raises(kind) as failure:
        await weak.table("rows", "token").insert({}).execute()

    assert failure.value.status == answer.status


async def test_nobody_listens() -> None:
    """A refused connection is RestUnavailable, and known not to have been sent."""
    async with Rest(url="http://127.0.0.1:9", key="key") as nowhere:
        with pytest.raises(RestUnavailable) as failure:
            await nowhere.rpc("claim", {})

    assert failure.value.unsent


def leaves(kind: type[Exception]) -> list[type[Exception]]:
    """The errors below *kind* that are really raised."""
    below = kind.__subclasses__()
    return [leaf for child in below for leaf in leaves(child)] if below else [kind]


class _Failing(httpx.AsyncBaseTransport):
    def __init__(self, error: Exception) -> None:
        self.error = error

    @override
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        raise self.error


@pytest.mark.parametrize("kind", leaves(httpx.TransportError), ids=lambda kind: kind.__name__)
async def test_no_network_error_gets_past_the_transport(kind: type[Exception]) -> None:
    """Each of httpx's transport errors becomes RestUnavailable, newer ones included."""
    transport = rest_module._Transport(_Failing(kind("boom")))

    with pytest.raises(RestUnavailable):
        await transport.handle_async_request(httpx.Request("POST", "http://x/"))


async def test_without_the_transport_httpx_errors_would_pass() -> None:
    """Negative control: the bare transport raises httpx's error, which is none of ours."""
    bare = _Failing(httpx.ReadError("boom"))

    with pytest.raises(httpx.ReadError) as failure:
        await bare.handle_async_request(httpx.Request("POST", "http://x/"))

    assert not isinstance(failure.value, RestError)
