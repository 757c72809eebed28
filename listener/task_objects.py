"""
What an attempt may read and write in the object store: its own picture and results, no others.

A rented host holds no bucket keys: `SignedObjects` asks the Edge Function `job-urls` for URLs.
`BucketObjects` is for a host that is trusted with the keys.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from adapters import machine_auth, objects, rest, signed_urls
from listener.lease_store import Claim
from s3_sam3.contracts import limits, object_keys
from s3_sam3.contracts.errors import ErrorCode


FUNCTION: Final = "job-urls"

RESULT_FILES: Final = {
    object_keys.MASK: "image/png",
    object_keys.OVERLAY: "image/webp",
    object_keys.MANIFEST: "application/json",
}
"""What every attempt writes, and of which type."""

Result = TypeVar("Result")


class TaskObjects(Protocol):
    """Reading and writing raise the errors of `adapters.objects`."""

    async def read_source(self, claim: Claim) -> bytes:
        """The picture's bytes."""
        ...

    async def write_results(self, claim: Claim, files: Mapping[str, bytes]) -> dict[str, str]:
        """Write result files of this attempt; answers their keys by the files' names."""
        ...


class BucketObjects:
    """By the bucket's keys."""

    def __init__(self, store: objects.ObjectStore) -> None:
        self._store = store

    async def read_source(self, claim: Claim) -> bytes:
        """Read the upload, refusing a key outside the owner's uploads."""
        if not object_keys.is_upload_of(claim.source_image_url, claim.user_id):
            raise objects.ObjectNotFound(claim.source_image_url)
        return await self._store.get(claim.source_image_url, max_bytes=limits.MAX_UPLOAD_BYTES)

    async def write_results(self, claim: Claim, files: Mapping[str, bytes]) -> dict[str, str]:
        """Write under the token's own prefix, where a zombie of this task cannot write."""
        prefix = object_keys.result_prefix(claim.user_id, claim.id, claim.token)
        await asyncio.gather(
            *(
                self._store.put(prefix + name, data, RESULT_FILES[name])
                for name, data in files.items()
            )
        )
        return {name: prefix + name for name in files}


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


class SignedObjects:
    """By URLs that job-urls signs for the attempt; they end with it at the latest."""

    def __init__(
        self,
        supabase: rest.Rest,
        tokens: machine_auth.MachineTokens,
        urls: signed_urls.SignedUrls,
    ) -> None:
        self._supabase = supabase
        self._tokens = tokens
        self._urls = urls

    async def read_source(self, claim: Claim) -> bytes:
        async def read(signed: _Signed) -> bytes:
            return await self._urls.get(signed.source.url, max_bytes=limits.MAX_UPLOAD_BYTES)

        return await self._with_urls(claim, {}, read)

    async def write_results(self, claim: Claim, files: Mapping[str, bytes]) -> dict[str, str]:
        """Ask for URLs for files of just these sizes, and write them."""

        async def write(signed: _Signed) -> dict[str, str]:
            granted = {each.name: each for each in signed.writes}
            if not files.keys() <= granted.keys():
                raise objects.ObjectRefused("job-urls left out a file")
            await asyncio.gather(
                *(
                    self._urls.put(granted[name].url, data, granted[name].headers)
                    for name, data in files.items()
                )
            )
            return {name: granted[name].key for name in files}

        return await self._with_urls(claim, files, write)

    async def _with_urls(
        self,
        claim: Claim,
        files: Mapping[str, bytes],
        use: Callable[[_Signed], Awaitable[Result]],
    ) -> Result:
        signed = await self._sign(claim, files)
        try:
            return await use(signed)
        except objects.ObjectRefused:
            # The store's clock may be ahead of the signer's; newer URLs may pass.
            return await use(await self._sign(claim, files))

    async def _sign(self, claim: Claim, files: Mapping[str, bytes]) -> _Signed:
        writes = [
            {"name": name, "content_type": RESULT_FILES[name], "bytes": len(data)}
            for name, data in files.items()
        ]
        body: dict[str, Any] = {"token": claim.token, "writes": writes}
        try:
            answer = await machine_auth.with_token(
                self._tokens, lambda token: self._supabase.call_function(FUNCTION, body, token)
            )
            return _Signed.model_validate(answer)
        except (rest.RestUnavailable, machine_auth.AuthUnavailable, ValidationError) as error:
            raise objects.ObjectStoreUnavailable(f"{FUNCTION}: {type(error).__name__}") from error
        except machine_auth.SignInRefused as error:
            raise objects.ObjectRefused(str(error)) from error
        except rest.RestRefused as error:
            if error.code == ErrorCode.SOURCE_NOT_FOUND:
                raise objects.ObjectNotFound(str(error)) from error
            raise objects.ObjectRefused(f"{FUNCTION}: {error}") from error
