"""The project's public signing keys, cached."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

import aiohttp
import jwt

from runtime import logs


log = logs.get_logger(__name__)

_LIFE_SECONDS: Final = 600.0
"""As long as Supabase's edge keeps the set; a revoked key is unknown here after that."""

_PAUSE_SECONDS: Final = 30.0
"""Between two fetches for unknown key ids, so that garbage tokens do not each cause one."""

_ALGORITHMS: Final = {("EC", "P-256"): "ES256", ("RSA", None): "RS256"}
"""Key type -> the one algorithm it may check. A token's own `alg` never chooses."""


class JwksUnavailable(Exception):
    """The signing keys could not be fetched, and none are known."""


class Jwks:
    """Key id -> public key, cached."""

    def __init__(
        self,
        http: aiohttp.ClientSession,
        url: str,
        apikey: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._http = http
        self._url = url
        self._headers = {"apikey": apikey}
        self._clock = clock
        self._keys: dict[str, jwt.PyJWK] = {}
        self._tried_at: float | None = None
        self._fetched_at: float | None = None
        self._lock = asyncio.Lock()

    async def key(self, key_id: str) -> jwt.PyJWK | None:
        """
        The key of that id, or None when the project has no such key.

        Raises: JwksUnavailable.
        """
        if key_id not in self._keys or self._age(self._fetched_at) > _LIFE_SECONDS:
            await self._refresh(key_id)
        if self._fetched_at is None:
            raise JwksUnavailable
        return self._keys.get(key_id)

    async def _refresh(self, key_id: str) -> None:
        async with self._lock:
            known = key_id in self._keys and self._age(self._fetched_at) <= _LIFE_SECONDS
            if known or self._age(self._tried_at) < self._pause:
                return
            self._tried_at = self._clock()
            try:
                body = await self._fetch()
            except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                # The known keys stay valid: a short outage of Auth signs nobody out.
                log.warning("jwks_fetch_failed", error=repr(error))
                return
            self._keys = _usable(body)
            self._fetched_at = self._clock()

    @property
    def _pause(self) -> float:
        # Without any key nobody can sign in, so the first fetch is repeated sooner.
        return _PAUSE_SECONDS if self._fetched_at is not None else 1.0

    def _age(self, instant: float | None) -> float:
        return float("inf") if instant is None else self._clock() - instant

    async def _fetch(self) -> Any:
        timeout = aiohttp.ClientTimeout(total=5)
        async with self._http.get(
            self._url, headers=self._headers, timeout=timeout, raise_for_status=True
        ) as answer:
            return await answer.json(content_type=None)


def _usable(body: Any) -> dict[str, jwt.PyJWK]:
    """Keep the asymmetric keys of known algorithms; a symmetric key is never public."""
    keys: dict[str, jwt.PyJWK] = {}
    for entry in body.get("keys", []) if isinstance(body, dict) else []:
        algorithm = _ALGORITHMS.get((entry.get("kty"), entry.get("crv")))
        if algorithm and entry.get("kid") and entry.get("alg", algorithm) == algorithm:
            keys[entry["kid"]] = jwt.PyJWK.from_dict(entry, algorithm=algorithm)
    return keys
