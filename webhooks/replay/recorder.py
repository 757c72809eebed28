"""`s3 record`: a proxy that writes each request down before anything else happens to it."""

import argparse
import asyncio
import contextlib
import signal
import sys
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from webhooks.replay import redaction
from webhooks.replay.errors import UsageError
from webhooks.replay.messages import Attempt
from webhooks.replay.recording import Recording, message_of
from webhooks.replay.targets import http_url


MOST_BYTES: Final = 8 * 1024 * 1024
"""Of one request; a larger one is answered 413 and not written down."""
FORWARD_SECONDS: Final = 30.0
FIRST_BYTES: Final = 4096
"""So much of an answer is written down; all of it is passed on."""

_HOP: Final = frozenset(
    {
        *("host", "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te"),
        *("proxy-connection", "trailer", "transfer-encoding", "upgrade", "content-length"),
        "expect",
    }
)
"""Headers of one connection; the next one makes its own."""

_NONE_OF_ITS_OWN: Final = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorder:
    """Writes down, forwards, writes the answer down, answers."""

    forward: URL
    recording: Recording
    http: aiohttp.ClientSession

    async def handle(self, request: web.Request) -> web.Response:
        """Take any request."""
        body = await request.read()
        headers = tuple(
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in request.raw_headers
        )
        url = self.url_of(request)
        n = uuid.uuid4().hex
        message = message_of(headers, body, n, url=str(url))
        self.recording.request(n, message, method=request.method, path=request.raw_path)
        answer, attempt = await self._forwarded(request.method, url, headers, body)
        self.recording.attempt(n, attempt)
        sys.stdout.write(
            f"{attempt.told:>4} {attempt.latency_ms:>5} ms  {message.id}  {message.type}\n"
        )
        sys.stdout.flush()
        return answer

    def url_of(self, request: web.Request) -> URL:
        """The forward URL as it is; without a path in it, with the request's path and query."""
        if self.forward.path != "/":
            return self.forward
        return URL(str(self.forward.origin()) + request.raw_path, encoded=True)

    async def _forwarded(
        self, method: str, url: URL, headers: Headers, body: bytes
    ) -> tuple[web.Response, Attempt]:
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            async with self.http.request(
                method,
                url,
                data=body or None,
                headers=CIMultiDict(_passed_on(headers)),
                allow_redirects=False,
            ) as answer:
                whole = await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as fault:
            error = type(fault).__name__
            took = round((clock() - began) * 1000)
            text = f"The receiver did not answer ({error}); the request is recorded.\n"
            attempt = Attempt(status=None, latency_ms=took, error=error)
            return web.Response(status=502, text=text), attempt
        attempt = Attempt(
            status=answer.status,
            latency_ms=round((clock() - began) * 1000),
            answer=whole[:FIRST_BYTES],
        )
        passed = CIMultiDict(_passed_on(answer.headers.items()))
        return web.Response(status=answer.status, body=whole, headers=passed), attempt


async def serve(asked: argparse.Namespace) -> int:
    """Serve until SIGTERM or Ctrl-C; exit code 0. Raises: UsageError."""
    forward = http_url(asked.forward)
    host, port = asked.listen
    stop = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, stop.set)
    async with contextlib.AsyncExitStack() as stack:
        recording = stack.enter_context(Recording(asked.out, asked.redact))
        http = await stack.enter_async_context(
            aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=FORWARD_SECONDS),
                auto_decompress=False,
                skip_auto_headers=_NONE_OF_ITS_OWN,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        )
        app = web.Application(client_max_size=MOST_BYTES)
        recorder = Recorder(forward=forward, recording=recording, http=http)
        app.router.add_route("*", "/{path:.*}", recorder.handle)
        runner = web.AppRunner(app, access_log=None, auto_decompress=False)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        bound = await _bound(runner, host, port)
        to = redaction.url(str(forward), asked.redact)
        sys.stderr.write(f"Recording http://{host}:{bound} -> {to} in {asked.out}\n")
        await stop.wait()
    return 0


async def _bound(runner: web.AppRunner, host: str, port: int) -> int:
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        msg = f"{host}:{port} cannot be listened on: {error.strerror}."
        raise UsageError(msg) from error
    return int(runner.addresses[0][1])


def _passed_on(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in headers if name.lower() not in _HOP]
