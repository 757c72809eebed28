"""A TCP proxy between a program and a server, which a test may cut or hold at a given word."""

import asyncio
import contextlib
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit


class TcpProxy:
    """
    Listens on a port of its own and passes bytes on to *target*, an http URL.

    `hold_at(word)` lets everything through until a chunk towards the server has that word; that
    chunk and what follows stay in the proxy, so the program waits for an answer that never comes.
    """

    def __init__(self, target: str) -> None:
        split = urlsplit(target)
        assert split.hostname is not None
        assert split.port is not None
        self._host, self._port = split.hostname, split.port
        self._server: asyncio.Server | None = None
        self._word: bytes | None = None
        self._passes = 0
        self._links: set[asyncio.Task[None]] = set()
        self.own_port = 0
        self.held = asyncio.Event()

    @property
    def url(self) -> str:
        """Where the program should connect."""
        return f"http://127.0.0.1:{self.own_port}"

    async def __aenter__(self) -> Self:
        """Listen."""
        await self.mend()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Pull it out."""
        await self.cut()

    def hold_at(self, word: bytes, *, passes: int = 0) -> None:
        """Hold at the chunk with *word*, after letting *passes* of them through."""
        self._word, self._passes = word, passes

    async def cut(self) -> None:
        """End every connection, and refuse new ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        links = list(self._links)
        for link in links:
            link.cancel()
        await asyncio.gather(*links, return_exceptions=True)

    async def mend(self) -> None:
        """Listen again, on the same port."""
        self._server = await asyncio.start_server(self._link, "127.0.0.1", self.own_port)
        self.own_port = self._server.sockets[0].getsockname()[1]

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = asyncio.current_task()
        assert link is not None
        self._links.add(link)
        there: asyncio.StreamWriter | None = None
        try:
            back, there = await asyncio.open_connection(self._host, self._port)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pass(reader, there, watched=True))
                both.create_task(self._pass(back, writer, watched=False))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._links.discard(link)
            for side in (writer, there):
                if side is not None:
                    side.close()

    async def _pass(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, watched: bool
    ) -> None:
        while chunk := await source.read(65536):
            if watched and self._holds(chunk):
                self.held.set()
            if watched and self.held.is_set():
                await asyncio.Event().wait()
            with contextlib.suppress(OSError):
                sink.write(chunk)
                await sink.drain()
        sink.close()

    def _holds(self, chunk: bytes) -> bool:
        if self._word is None or self._word not in chunk:
            return False
        self._passes -= 1
        return self._passes < 0
