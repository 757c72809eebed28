"""
TaskObjects for a host that holds no bucket keys: the Edge Function `job-urls` signs.

Two questions for each attempt: what it may read; and when the result is there, where it may write
files of just these sizes. The URLs end with the attempt at the latest. They are kept until then,
and asked for anew when the store refuses one.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from adapters import edge_functions, machine_auth, objects, rest, signed_urls
from listener.lease_store import Claim
from s3_sam3.contracts import limits, object_keys
from s3_sam3.contracts.errors import ErrorCode


FUNCTION: Final = "job-urls"

WRITES: Final = {
    object_keys.MANIFEST: "application/json",
    object_keys.MASK: "image/png",
    object_keys.OVERLAY: "image/webp",
}
"""What every attempt writes."""

_MARGIN_SECONDS: Final = 10.0
"""A URL with less time left is not begun with."""

_UNAUTHENTICATED: Final = 401

Result = TypeVar("Result")


class _Url(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    key: str
    url: str = Field(repr=False)
    name: str = ""
    headers: dict[str, str] = Field(default_factory=dict)


class _Signed(BaseModel):
    """The data that job-urls answers."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    source: _Url
    writes: tuple[_Url, ...]
    seconds: int


@dataclass(slots=True)
class _Kept:
    """One attempt's URLs, once they were asked for."""

    asking: asyncio.Lock = field(default_factory=asyncio.Lock)
    sizes: dict[str, int] = field(default_factory=dict)
    """Bytes of the files to write, as far as they are known."""
    asked: dict[str, int] = field(default_factory=dict)
    """The sizes that `signed` is for."""
    signed: _Signed | None = None
    good_until: float = 0.0


class SignedObjects:
    """Reads and writes what job-urls signs for the attempt, and nothing else."""

    def __init__(
        self,
        functions: edge_functions.EdgeFunctions,
        tokens: machine_auth.MachineTokens,
        urls: signed_urls.SignedUrls,
    ) -> None:
        self._functions = functions
        self._tokens = tokens
        self._urls = urls
        self._kept: dict[int, _Kept] = {}

    async def read_source(self, claim: Claim) -> bytes:
        """The picture's bytes."""

        async def read(signed: _Signed) -> bytes:
            return await self._urls.get(signed.source.url, max_bytes=limits.MAX_UPLOAD_BYTES)

        return await self._with_urls(claim, read)

    def announce(self, claim: Claim, sizes: Mapping[str, int]) -> None:
        """Ask for these files with the first of them."""
        self._kept_for(claim.token).sizes.update(sizes)

    async def write_result(self, claim: Claim, name: str, data: bytes, content_type: str) -> str:
        """Write one result file of this attempt; answers its key."""
        del content_type  # it is signed into the URL, by the file's name
        self.announce(claim, {name: len(data)})

        async def write(signed: _Signed) -> str:
            for granted in signed.writes:
                if granted.name == name:
                    await self._urls.put(granted.url, data, granted.headers)
                    return granted.key
            raise objects.ObjectRefused(name)

        return await self._with_urls(claim, write)

    async def _with_urls(self, claim: Claim, use: Callable[[_Signed], Awaitable[Result]]) -> Result:
        kept = self._kept_for(claim.token)
        signed = await self._signed(claim.token, kept)
        try:
            return await use(signed)
        except objects.ObjectRefused:
            # The store's clock may differ from ours.
            if kept.signed is signed:
                kept.signed = None
        return await use(await self._signed(claim.token, kept))

    def _kept_for(self, token: int) -> _Kept:
        now = _now()
        over = [each for each, kept in self._kept.items() if kept.signed and kept.good_until < now]
        for each in over:
            del self._kept[each]
        return self._kept.setdefault(token, _Kept())

    async def _signed(self, token: int, kept: _Kept) -> _Signed:
        async with kept.asking:
            if kept.signed is None or kept.good_until < _now() or kept.asked != kept.sizes:
                asked_at, sizes = _now(), dict(kept.sizes)
                kept.signed = await self._ask(token, sizes)
                kept.asked = sizes
                kept.good_until = asked_at + kept.signed.seconds - _MARGIN_SECONDS
            return kept.signed

    async def _ask(self, token: int, sizes: Mapping[str, int]) -> _Signed:
        try:
            return _Signed.model_validate(await self._call(token, sizes))
        except (rest.RestUnavailable, machine_auth.AuthUnavailable, ValidationError) as error:
            raise objects.ObjectStoreUnavailable(f"job-urls: {type(error).__name__}") from error
        except machine_auth.SignInRefused as error:
            raise objects.ObjectRefused(str(error)) from error
        except rest.RestRefused as error:
            if error.code == ErrorCode.SOURCE_NOT_FOUND:
                raise objects.ObjectNotFound(str(error)) from error
            raise objects.ObjectRefused(f"job-urls: {error}") from error

    async def _call(self, token: int, sizes: Mapping[str, int]) -> dict[str, Any]:
        writes = [
            {"name": name, "content_type": WRITES[name], "bytes": count}
            for name, count in sizes.items()
        ]
        body = {"token": token, "writes": writes}
        access = await self._tokens.token()
        try:
            return await self._functions.call(FUNCTION, body, access)
        except rest.RestRefused as error:
            if error.status != _UNAUTHENTICATED:
                raise
        self._tokens.forget(access)
        return await self._functions.call(FUNCTION, body, await self._tokens.token())


def _now() -> float:
    return asyncio.get_running_loop().time()
