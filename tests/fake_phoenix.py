"""A Realtime server as the official client sees it: joins anybody, breaks when told to."""

import contextlib
import json
from typing import Any

from websockets import ConnectionClosed
from websockets.asyncio.server import Server, ServerConnection, serve


TOPIC = "workers:image"


class FakePhoenix:
    """A Phoenix server that joins anybody, sends broadcasts back, and breaks when told to."""

    def __init__(self, topic: str = TOPIC) -> None:
        self.topic = topic
        self.connections: list[ServerConnection] = []
        self.tokens: list[str] = []
        self.joins: list[dict[str, Any]] = []
        self.mute = False
        self.refusing = False
        self._server: Server | None = None
        self.port = 0

    async def start(self) -> None:
        """Listen, on the same port as before."""
        self._server = await serve(self._serve, "127.0.0.1", self.port)
        self.port = next(iter(self._server.sockets)).getsockname()[1]

    async def stop(self) -> None:
        """Cut every connection and listen no more."""
        assert self._server is not None
        self._server.close(close_connections=False)
        for connection in list(self.connections):
            connection.transport.abort()
        await self._server.wait_closed()

    async def send(self, event: str, payload: dict[str, Any]) -> None:
        """Send a frame on the topic to every connection."""
        frame = {"ref": None, "event": event, "topic": f"realtime:{self.topic}", "payload": payload}
        for connection in list(self.connections):
            with contextlib.suppress(ConnectionClosed):
                await connection.send(json.dumps(frame))

    async def broadcast(self, number: int) -> None:
        """Send a hint."""
        await self.send(
            "broadcast", {"type": "broadcast", "event": "task_pending", "payload": {"id": number}}
        )

    async def _serve(self, connection: ServerConnection) -> None:
        self.connections.append(connection)
        try:
            async for text in connection:
                if not self.mute:
                    await self._answer(connection, json.loads(text))
        except ConnectionClosed:
            pass
        finally:
            self.connections.remove(connection)

    async def _answer(self, connection: ServerConnection, frame: dict[str, Any]) -> None:
        event, payload = frame["event"], frame["payload"]
        if event in {"phx_join", "access_token"}:
            self.tokens.append(payload["access_token"])
        if event == "broadcast":
            await connection.send(json.dumps({**frame, "ref": None}))
        if event in {"phx_join", "heartbeat", "phx_leave"}:
            status = "error" if self.refusing else "ok"
            body = {"status": status, "response": {}}
            await connection.send(json.dumps({**frame, "event": "phx_reply", "payload": body}))
        if event == "phx_join":
            self.joins.append(payload["config"])
