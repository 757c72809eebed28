"""The API is killed after the database has committed and before its caller gets the answer."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import jwt
import psycopg
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from devstack import testing


SUBMIT = "/rest/v1/rpc/submit_task"


class Between:
    """A proxy in front of Supabase that can hold back the answer of a committed submit."""

    def __init__(self, supabase_url: str) -> None:
        self._supabase_url = supabase_url
        self.holding = True
        self.committed = asyncio.Event()
        self.url = ""

    async def pass_on(self, request: web.Request) -> web.Response:
        """Forward a request; hold a submit's answer back for as long as the API lives."""
        headers = {
            name: value
            for name, value in request.headers.items()
            if name.lower() in {"apikey", "authorization", "content-type", "accept", "prefer"}
        }
        async with (
            aiohttp.ClientSession() as http,
            http.request(
                request.method,
                self._supabase_url + request.path_qs,
                headers=headers,
                data=await request.read(),
            ) as answer,
        ):
            body, status, kind = await answer.read(), answer.status, answer.content_type
        if request.path == SUBMIT and self.holding:
            assert status == 200, body
            self.committed.set()
            await asyncio.Event().wait()
        return web.Response(body=body, status=status, content_type=kind)


@pytest.fixture
async def between(stack: testing.Stack) -> AsyncIterator[Between]:
    """The proxy, running."""
    proxy = Between(stack.url)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", proxy.pass_on)
    async with TestServer(app, handler_cancellation=True) as server:
        proxy.url = str(server.make_url("/")).rstrip("/")
        yield proxy


def token_for(user_id: str, url: str, secret: str) -> str:
    """A user's token as the project at that address would issue it."""
    claims = {
        "iss": f"{url}/auth/v1",
        "aud": "authenticated",
        "role": "authenticated",
        "sub": user_id,
        "exp": int(time.time()) + 600,
    }
    return jwt.encode(claims, secret, algorithm="HS256")


@pytest.mark.parametrize(("key", "charges"), [({"Idempotency-Key": "k"}, 1), ({}, 2)])
async def test_a_retry_after_a_kill_is_the_same_task(
    start: Callable[..., Any],
    between: Between,
    stack: testing.Stack,
    caller: Any,
    draw: Callable[..., bytes],
    db: psycopg.AsyncConnection[Any],
    key: dict[str, str],
    charges: int,
) -> None:
    """
    A caller who heard nothing asks again with the same key and gets the first task, held once.

    Negative control: without a key the same retry is a second task and a second hold.
    """
    token = token_for(caller.user.id, between.url, stack.jwt_secret)
    asked: dict[str, Any] = {
        "json": {"image_url": await caller.upload(draw()), "text_prompt": "cat"},
        "headers": {"Authorization": f"Bearer {token}", **key},
    }

    async def holds() -> Any:
        query = """
            select
                (select count(*) from public.segmentation_results where user_id = %(user)s),
                (select count(*) from public.usage_logs
                    where user_id = %(user)s and action = 'hold')
        """
        return await (await db.execute(query, {"user": caller.user.id})).fetchone()

    killed = start(SUPABASE_URL=between.url)
    async with aiohttp.ClientSession() as http:
        unheard = asyncio.create_task(http.post(f"{killed.url}/api/v1/segment", **asked))
        await asyncio.wait_for(between.committed.wait(), 20)
        killed.process.kill()
        with pytest.raises(aiohttp.ClientError):
            await unheard
        assert await holds() == (1, 1)

        between.holding = False
        again = start(SUPABASE_URL=between.url)
        async with http.post(f"{again.url}/api/v1/segment", **asked) as answer:
            envelope = await answer.json()

    assert answer.status == 202, envelope
    assert answer.headers.get("Idempotent-Replayed") == ("true" if key else None)
    assert await holds() == (charges, charges)
    assert await caller.balance() == 100 - charges
