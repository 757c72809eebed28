"""The realtime routes of the gateway: the WebSocket, and broadcasts by HTTP."""

import asyncio
import contextlib
import functools
import json
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web

from devstack import context
from devstack.realtime import authorization, feed, hub, identity, outbox, phoenix, session


HUB = web.AppKey("realtime_hub", hub.Hub)
FEED = web.AppKey("realtime_feed", feed.Feed)
SOCKETS = web.AppKey("realtime_sockets", set[web.WebSocketResponse])

#: The clients send a heartbeat every 25 s; the hosted platform, too, gives up after 60 s.
SILENCE_SECONDS = 60.0

#: How long a client may take to answer a close.
CLOSE_SECONDS = 0.5

#: The hosted platform's largest broadcast.
MAX_FRAME_BYTES = 3 * 1024 * 1024

#: The gateway opens its port when the feed is live; later than this it does not wait for it.
START_SECONDS = 5.0

ACCEPTED = 202


def add_routes(app: web.Application) -> None:
    """Serve `/realtime/v1` from *app*, whose context must be set."""
    app[HUB] = hub.Hub()
    app[SOCKETS] = set()
    app.cleanup_ctx.append(run_feed)
    app.on_shutdown.append(close_sockets)
    app.router.add_get("/realtime/v1/websocket", websocket)
    app.router.add_post("/realtime/v1/api/broadcast", broadcast_batch)
    app.router.add_post("/realtime/v1/api/broadcast/{topic}/events/{event}", broadcast_one)


async def run_feed(app: web.Application) -> AsyncIterator[None]:
    """Read the database's changes for as long as the gateway runs."""
    shared = app[context.CONTEXT]
    app[FEED] = feed.Feed(shared.pool, shared.dsn, app[HUB])
    tasks = [asyncio.create_task(app[FEED].run()), asyncio.create_task(app[FEED].prune())]
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(START_SECONDS):
            await app[FEED].live.wait()
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def close_sockets(app: web.Application) -> None:
    """Send the clients away, to come back when the gateway does."""
    sockets = app[SOCKETS]
    closings = (socket.close(code=aiohttp.WSCloseCode.GOING_AWAY) for socket in sockets)
    await asyncio.gather(*closings, return_exceptions=True)


async def websocket(request: web.Request) -> web.WebSocketResponse:
    """A client's connection, until either side ends it."""
    key = context.api_key_of(request)
    version = _version(request)
    socket = web.WebSocketResponse(
        timeout=CLOSE_SECONDS, receive_timeout=SILENCE_SECONDS, max_msg_size=MAX_FRAME_BYTES
    )
    await socket.prepare(request)
    request.app[SOCKETS].add(socket)
    box = outbox.Outbox(_sender(socket), functools.partial(_cut, request))
    current = session.Session(
        shared=request.config_dict[context.CONTEXT],
        channels=request.app[HUB],
        source=request.app[FEED],
        version=version,
        box=box,
        key_token=key,
    )
    sending = asyncio.create_task(box.run())
    try:
        await _receive(socket, current)
    finally:
        request.app[SOCKETS].discard(socket)
        current.close()
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    return socket


def _version(request: web.Request) -> phoenix.Version:
    asked = request.query.get("vsn", phoenix.Version.V1)
    try:
        return phoenix.Version(asked)
    except ValueError as error:
        known = " and ".join(phoenix.Version)
        raise web.HTTPBadRequest(reason=f"vsn {asked} is not known; {known} are") from error


def _cut(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


def _sender(socket: web.WebSocketResponse) -> outbox.Send:
    async def send(frame: outbox.Frame) -> None:
        if isinstance(frame, str):
            await socket.send_str(frame)
        else:
            await socket.send_bytes(frame)

    return send


async def _receive(socket: web.WebSocketResponse, current: session.Session) -> None:
    try:
        async for frame in socket:
            if frame.type is aiohttp.WSMsgType.TEXT:
                await current.receive(phoenix.decode_text(frame.data))
            elif frame.type is aiohttp.WSMsgType.BINARY:
                await current.receive(phoenix.decode_binary(frame.data))
    except phoenix.FrameError as error:
        reason = str(error).encode()[:120]
        await socket.close(code=aiohttp.WSCloseCode.UNSUPPORTED_DATA, message=reason)
    except TimeoutError:
        await socket.close(code=aiohttp.WSCloseCode.GOING_AWAY, message=b"no heartbeat")


async def broadcast_batch(request: web.Request) -> web.Response:
    """`{"messages": [{"topic", "event", "payload", "private"?}]}`, all or none."""
    try:
        body = await request.json()
        sent = [
            hub.message(
                name=str(one["topic"]),
                private=one.get("private") is True,
                event=str(one["event"]),
                payload=json.dumps(one["payload"]),
            )
            for one in body["messages"]
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise web.HTTPUnprocessableEntity(reason="messages need topic, event, payload") from error
    return await _send(request, sent)


async def broadcast_one(request: web.Request) -> web.Response:
    """The body is the payload: JSON, or bytes as `application/octet-stream`."""
    topic, event = request.match_info["topic"], request.match_info["event"]
    private = request.query.get("private") == "true"
    body = await request.read()
    if request.content_type == "application/octet-stream":
        sent = hub.Broadcast(name=topic, private=private, event=event, raw=body)
    else:
        try:
            payload = json.dumps(json.loads(body))
        except ValueError as error:
            raise web.HTTPUnprocessableEntity(reason="the payload is not JSON") from error
        sent = hub.message(name=topic, private=private, event=event, payload=payload)
    return await _send(request, [sent])


async def _send(request: web.Request, sent: list[hub.Broadcast]) -> web.Response:
    who = identity.of(context.claims_of(request))
    shared = request.config_dict[context.CONTEXT]
    for topic in {one.name for one in sent if one.private}:
        if not (await authorization.may_write(shared.pool, who, topic)).broadcast:
            raise web.HTTPForbidden(reason=f"You may not send on this Channel topic: {topic}")
    for one in sent:
        request.app[HUB].broadcast(one)
    return web.Response(status=ACCEPTED)
