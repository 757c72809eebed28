"""Users with webhooks, a receiver that answers as told, and dispatchers that tests start."""

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Self

import psycopg
from aiohttp import web
from listeners import ListenerProcess
from psycopg.rows import dict_row

from adapters.rest import Rest
from devstack.testing import SignedUpUser, Stack
from s3_sam3.contracts import object_keys
from webhooks.delivery import serve
from webhooks.delivery.serve import Dispatcher, DispatcherSettings, Limits


DispatcherProcess = ListenerProcess
"""`python -m webhooks.delivery`, and what it logged."""

Spawn = Callable[..., Awaitable[DispatcherProcess]]
"""`await spawn(limits=…, DISPATCHER_…=…)`: a dispatcher process, killed at the end."""

Dispatching = Callable[..., contextlib.AbstractAsyncContextManager[Dispatcher]]
"""`async with dispatching(per_endpoint=…)`: a dispatcher in this process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Got:
    """One request that the receiver took."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def id(self) -> str:
        """The delivery."""
        return self.headers["webhook-id"]


Answering = Callable[[Got], Awaitable[web.StreamResponse] | web.StreamResponse]


def status(code: int, **headers: str) -> Answering:
    """Answer with that status and those headers (`_` for `-`)."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: web.Response(status=code, headers=named)


@dataclass(kw_only=True)
class Receiver:
    """A user's server on 127.0.0.1; it keeps what it got and answers as told."""

    answering: Answering = field(default_factory=lambda: status(200))
    got: list[Got] = field(default_factory=list)
    port: int = 0

    async def __aenter__(self) -> Self:
        """Listen."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def ids(self) -> list[str]:
        """Ids as they came, repetitions included."""
        return [got.id for got in self.got]

    async def _take(self, request: web.Request) -> web.StreamResponse:
        got = Got(
            path=request.path,
            headers={name.lower(): value for name, value in request.headers.items()},
            body=await request.read(),
            at=time.time(),
        )
        self.got.append(got)
        answer = self.answering(got)
        return answer if isinstance(answer, web.StreamResponse) else await answer


@dataclass(kw_only=True)
class Platform:
    """A platform without tasks and deliveries, and what its users do."""

    stack: Stack
    db: psycopg.AsyncConnection[Any]
    rest: Rest

    async def webhook(self, user: SignedUpUser, url: str, *events: str) -> tuple[str, str]:
        """Make an endpoint; its id and secret."""
        made = await self.ask(user, "create_webhook", p_url=url, p_events=events or ["task.done"])
        return str(made["webhook"]["id"]), str(made["secret"])

    async def test(self, user: SignedUpUser, webhook_id: str) -> str:
        """Have a test message delivered; its id."""
        return str(await self.ask(user, "test_webhook", p_id=webhook_id))

    async def messages(self, webhook_id: str, count: int) -> list[str]:
        """Many messages to one endpoint, as if as many tasks had ended; their ids."""
        rows = await self.rows(
            "insert into webhook_deliveries (endpoint_id, user_id, event, body)"
            " select endpoints.id, endpoints.user_id, 'task.done', json_build_object('n', n)::text"
            " from webhook_endpoints as endpoints, generate_series(1, %s) as n"
            " where endpoints.id = %s returning id",
            count,
            webhook_id,
        )
        return [row["id"] for row in rows]

    async def claimed_task(self, user: SignedUpUser) -> dict[str, Any]:
        """Submit and claim a task; what the worker learns."""
        key = object_keys.upload_key(uuid.UUID(user.id), "0" * 64, "png")
        await self.ask(user, "submit_task", p_source_image_url=key, p_prompts=[{"text": "cat"}])
        (claim,) = await self.serve("claim_tasks", p_worker="w", p_limit=1)
        found: dict[str, Any] = claim
        return found

    async def complete(self, claim: dict[str, Any]) -> None:
        """Settle a claim with one instance."""
        prefix = object_keys.result_prefix(
            uuid.UUID(claim["user_id"]), uuid.UUID(claim["id"]), claim["token"]
        )
        answer = await self.serve(
            "complete_task",
            p_token=claim["token"],
            p_manifest_url=prefix + object_keys.MANIFEST,
            p_mask_image_url=None,
            p_overlay_image_url=None,
            p_instance_count=1,
            p_summary={},
        )
        assert answer == "ok"

    async def ask(self, user: SignedUpUser, function: str, **params: Any) -> Any:
        """Call a function as a user."""
        return await self.rest.rpc(function, params, user.access_token)

    async def serve(self, function: str, **params: Any) -> Any:
        """Call a function with the service key."""
        return await self.rest.rpc(function, params, self.stack.service_key)

    async def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Rows, without row-level security."""
        async with self.db.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(query.encode(), values)
            return await cursor.fetchall() if cursor.description else []

    async def delivery(self, delivery_id: str) -> dict[str, Any]:
        """A delivery's row, with `wait`: seconds from its last attempt to the next."""
        (row,) = await self.rows(
            "select *, extract(epoch from next_attempt_at - (select max(attempted_at)"
            " from webhook_attempts where delivery_id = deliveries.id))::float as wait"
            " from webhook_deliveries as deliveries where id = %s",
            delivery_id,
        )
        return row

    async def attempts(self, delivery_id: str) -> list[dict[str, Any]]:
        """Its attempts, first come first."""
        query = "select * from webhook_attempts where delivery_id = %s order by id"
        return await self.rows(query, delivery_id)

    async def skip_waits(self) -> None:
        """Let the time pass that retries and open circuits wait for."""
        await self.rows("update webhook_endpoints set circuit_open_until = now()")
        await self.rows("update webhook_deliveries set next_attempt_at = now()")

    async def attempted(self, delivery_id: str, times: int = 1) -> bool:
        """Whether that many attempts are settled."""
        return len(await self.attempts(delivery_id)) >= times

    async def settled(self, *delivery_ids: str) -> bool:
        """Whether all of them ended."""
        query = "select 1 from webhook_deliveries where id = any(%s) and finished_at is not null"
        return len(await self.rows(query, list(delivery_ids))) == len(set(delivery_ids))


@contextlib.asynccontextmanager
async def dispatching(stack: Stack, **limits: Any) -> AsyncIterator[Dispatcher]:
    """A dispatcher in this process, quick, with limits by keyword."""
    config = DispatcherSettings.model_validate(
        {
            "supabase_url": stack.url,
            "supabase_service_key": stack.service_key,
            "dispatcher_allow_private": True,
        }
    )
    quick = Limits(**{"poll_seconds": 0.05, **limits})
    async with serve.built(config, quick) as dispatcher:
        stop = asyncio.Event()
        life = asyncio.create_task(dispatcher.run(stop, grace=quick.grace_seconds))
        try:
            yield dispatcher
        finally:
            stop.set()
            await life
