"""
Calls Supabase's Edge Functions with somebody's token; ours answer in the contract's envelope.

The errors are those of `adapters.rest`.
"""

import json
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Self

import aiohttp

from adapters.rest import RestError, RestRefused, RestUnavailable
from adapters.retrying import retrying


_TIMEOUT: Final = aiohttp.ClientTimeout(total=15, sock_connect=5)


class EdgeFunctions:
    """The functions of one project. An async context manager around one pool of connections."""

    def __init__(self, *, url: str, key: str) -> None:
        self._base_url = f"{url.rstrip('/')}/functions/v1"
        self._key = key
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(timeout=_TIMEOUT)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._http is not None:
            await self._http.close()

    async def call(self, name: str, body: dict[str, Any], token: str) -> dict[str, Any]:
        """
        Post *body* as the holder of *token*; answers the envelope's data.

        For functions that may be called twice: a call without a usable answer is repeated.
        Raises: RestRefused and RestUnavailable, whose `code` is the envelope's.
        """
        again = retrying(lambda error: isinstance(error, RestUnavailable))
        return await again(self._once, name, body, token)

    async def _once(self, name: str, body: dict[str, Any], token: str) -> dict[str, Any]:
        if self._http is None:
            msg = "EdgeFunctions is not open"
            raise RuntimeError(msg)
        headers = {"apikey": self._key, "Authorization": f"Bearer {token}"}
        try:
            async with self._http.post(
                f"{self._base_url}/{name}", json=body, headers=headers, allow_redirects=False
            ) as answer:
                content = await answer.read()
        except (aiohttp.ClientError, OSError) as error:
            raise RestUnavailable(message=type(error).__name__) from error
        document = _object(content)
        if answer.status >= HTTPStatus.BAD_REQUEST:
            raise _refusal(answer.status, document)
        data = document.get("data")
        if not isinstance(data, dict):
            raise RestUnavailable(message="the function's answer is no envelope")
        return data


def _refusal(status: int, document: dict[str, Any]) -> RestError:
    """Read an envelope, or an error of the platform, which has none."""
    error = document.get("error") if isinstance(document.get("error"), dict) else document
    kind = RestUnavailable if status >= HTTPStatus.INTERNAL_SERVER_ERROR else RestRefused
    code = error.get("code") if error else None
    message = error.get("message") if error else None
    return kind(status, None if code is None else str(code), str(message or "no reason given"))


def _object(content: bytes) -> dict[str, Any]:
    try:
        read = json.loads(content)
    except ValueError:
        return {}
    return read if isinstance(read, dict) else {}
