"""`s3 record`: a proxy that records each request before it forwards it."""

import asyncio
import contextlib
import sys
import uuid
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from runtime.stopping import stop_asked
from s3_sam3.messages import Attempt
from s3_sam3.recordings import Recording, message_of, redacted_url
from webhooks.replay import UsageError
from webhooks.replay.selection import http_url
from webhooks.replay.sending import CONNECTION_HEADERS, NO_DEFAULT_HEADERS


MOST_BYTES: Final = 8 * 1024 * 1024
"""Of one request; a larger one is answered 413 and not recorded."""
FORWARD_SECONDS: Final = 30.0
FIRST_BYTES: Final = 4096
"""How much of an answer is recorded; all of it is passed on."""

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorder:
    """Records a request, forwards it, records the answer, answers."""

    forward: URL
    recording: Recording
    http: aiohttp.ClientSession

    async def handle(self, request: web.Request) -> web.Response:
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
            f"{attempt.summary:>4} {attempt.latency_ms:>5} ms  {message.id}  {message.type}\n"
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
        begun = clock()
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
            took = round((clock() - begun) * 1000)
            text = f"The receiver did not answer ({error}); the request is recorded.\n"
            attempt = Attempt(status=None, latency_ms=took, error=error)
            return web.Response(status=HTTPStatus.BAD_GATEWAY, text=text), attempt
        attempt = Attempt(
            status=answer.status,
            latency_ms=round((clock() - begun) * 1000),
            answer=whole[:FIRST_BYTES],
        )
        passed = CIMultiDict(_passed_on(answer.headers.items()))
        return web.Response(status=answer.status, body=whole, headers=passed), attempt


async def serve(host: str, port: int, forward_to: str, out: Path, redact: Collection[str]) -> None:
    """Serve until SIGTERM or Ctrl-C. Raises: UsageError, RecordingError."""
    forward = http_url(forward_to)
    stop = stop_asked()
    async with contextlib.AsyncExitStack() as stack:
        recording = stack.enter_context(Recording(out, redact))
        http = await stack.enter_async_context(
            aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=FORWARD_SECONDS),
                auto_decompress=False,
                skip_auto_headers=NO_DEFAULT_HEADERS,
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
        to = redacted_url(str(forward), redact)
        sys.stderr.write(f"Recording http://{host}:{bound} -> {to} in {out}\n")
        await stop.wait()


async def _bound(runner: web.AppRunner, host: str, port: int) -> int:
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        msg = f"{host}:{port} cannot be listened on: {error.strerror}."
        raise UsageError(msg) from error
    return int(runner.addresses[0][1])


def _passed_on(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in headers if name.lower() not in CONNECTION_HEADERS]
