"""
PostgREST and Edge Functions, over one shared pool of connections.

The official client builds the queries. Under it is our transport: the one place where failures of
the network and answers of 400 and above become our errors, and where reads are repeated. No other
module meets the exceptions of httpx or postgrest.
"""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, Self

import httpx
from postgrest import AsyncPostgrestClient, AsyncRequestBuilder
from typing_extensions import override

from adapters.retrying import retrying


_TIMEOUT: Final = httpx.Timeout(15.0, connect=5.0)
"""Seconds. Longer than any statement of ours may take."""

_LIMITS: Final = httpx.Limits(
    max_connections=64, max_keepalive_connections=32, keepalive_expiry=30.0
)
_SAFE_METHODS: Final = frozenset({"GET", "HEAD"})


class RestError(Exception):
    """
    Supabase did not do what was asked.

    `status` is the HTTP status, `code` the SQLSTATE or PostgREST's own code, `message` the
    server's message (our functions put an ErrorCode there), `details` its sentence.
    """

    def __init__(
        self, status: int, code: str | None, message: str, details: str | None = None
    ) -> None:
        super().__init__(f"{status} {code or '-'}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.details = details


class RestRefused(RestError):
    """The server understood and said no (400-499); the same request will fail again."""


class RestUnavailable(RestError):
    """
    No usable answer: the network failed or the server answered 500 or above.

    `unsent` is true when no connection was made, so that any request may be repeated.
    """

    def __init__(
        self,
        status: int = HTTPStatus.SERVICE_UNAVAILABLE,
        code: str | None = None,
        message: str = "no answer",
        details: str | None = None,
        *,
        unsent: bool = False,
    ) -> None:
        super().__init__(status, code, message, details)
        self.unsent = unsent


class _Transport(httpx.AsyncBaseTransport):
    """Turns every failure into a RestError, and repeats requests that may be repeated."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner

    @override
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        safe = request.method in _SAFE_METHODS

        def may_pass(error: BaseException) -> bool:
            return isinstance(error, RestUnavailable) and (safe or error.unsent)

        return await retrying(may_pass)(self._once, request)

    async def _once(self, request: httpx.Request) -> httpx.Response:
        try:
            response = await self._inner.handle_async_request(request)
            await response.aread()
        except httpx.TransportError as error:
            unsent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
            raise RestUnavailable(message=type(error).__name__, unsent=unsent) from error
        if response.status_code >= HTTPStatus.BAD_REQUEST:
            raise _refusal(response)
        return response

    @override
    async def aclose(self) -> None:
        await self._inner.aclose()


class Rest:
    """
    PostgREST and the Edge Functions of one project, for one key.

    An async context manager. *key* goes into the `apikey` header; a call's *token* (a user's or a
    machine's JWT) says who asks. Without a token it is the key.
    """

    def __init__(self, *, url: str, key: str) -> None:
        self._url = url.rstrip("/")
        self._base_url = f"{self._url}/rest/v1"
        self._key = key
        self._http = httpx.AsyncClient(
            transport=_Transport(httpx.AsyncHTTPTransport(limits=_LIMITS)),
            timeout=_TIMEOUT,
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._http.aclose()

    def table(self, name: str, token: str | None = None) -> AsyncRequestBuilder:
        """The official query builder for a table; `execute()` on it raises RestError."""
        return self._client(token).table(name)

    async def rpc(
        self,
        name: str,
        params: Mapping[str, Any] | None = None,
        token: str | None = None,
        *,
        idempotent: bool = False,
    ) -> Any:
        """
        Call a function and answer its value as JSON.

        *idempotent* says that the same call may be made twice; it is then repeated when the
        network fails. Raises: RestRefused, RestUnavailable.
        """

        async def call() -> Any:
            # The builder serves one call only.
            answer = await self._client(token).rpc(name, dict(params or {})).execute()
            return answer.data

        if not idempotent:
            return await call()
        return await retrying(lambda error: isinstance(error, RestUnavailable))(call)

    async def select_one(
        self, name: str, token: str | None, *, columns: str = "*", **equal: str
    ) -> dict[str, Any] | None:
        """Read the row where every column of *equal* has that value; None: there is none."""
        query = self.table(name, token).select(columns).limit(1)
        for column, value in equal.items():
            query = query.eq(column, value)
        rows: list[Any] = list((await query.execute()).data)
        return rows[0] if rows else None

    async def call_function(self, name: str, body: dict[str, Any], token: str) -> dict[str, Any]:
        """
        Post *body* to an Edge Function as the holder of *token*; answer its envelope's data.

        For functions that may be called twice: a call without a usable answer is repeated.
        Raises: RestRefused and RestUnavailable, whose `code` is the envelope's.
        """

        async def call() -> dict[str, Any]:
            url = f"{self._url}/functions/v1/{name}"
            answer = await self._http.post(url, json=body, headers=self._headers(token))
            data = _object(answer.content).get("data")
            if not isinstance(data, dict):
                raise RestUnavailable(message="the function's answer is no envelope")
            return data

        return await retrying(lambda error: isinstance(error, RestUnavailable))(call)

    async def ping(self) -> None:
        """Ask PostgREST for its root with the bare key. Raises: RestUnavailable."""
        try:
            await self._http.head(f"{self._base_url}/", headers=self._headers(None))
        except RestRefused:
            return  # It answered, and nothing else was asked.

    def _headers(self, token: str | None) -> dict[str, str]:
        return {"apikey": self._key, "Authorization": f"Bearer {token or self._key}"}

    def _client(self, token: str | None) -> AsyncPostgrestClient:
        return AsyncPostgrestClient(
            self._base_url,
            headers=self._headers(token),
            http_client=self._http,
            retry_enabled=False,
        )


def _refusal(response: httpx.Response) -> RestError:
    """Read PostgREST's error body or our envelope; a proxy's page becomes its status and reason."""
    body = _object(response.content) or {"message": response.reason_phrase}
    if isinstance(body.get("error"), dict):
        body = body["error"]
    unavailable = response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR
    kind = RestUnavailable if unavailable else RestRefused
    details = body.get("details") or body.get("hint")
    return kind(
        response.status_code,
        None if body.get("code") is None else str(body["code"]),
        str(body.get("message") or body.get("msg") or "no reason given"),
        None if details is None else str(details),
    )


def _object(content: bytes) -> dict[str, Any]:
    """Read a JSON object; anything else is an empty one."""
    try:
        read = json.loads(content)
    except ValueError:
        return {}
    return read if isinstance(read, dict) else {}
