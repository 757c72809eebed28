"""
The object store: R2, or any server that speaks S3.

boto3 signs, retries and knows the protocol; it blocks, so its calls run in this store's own
threads over one shared client.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import IO, TYPE_CHECKING, Any, Final, ParamSpec, Self, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError


if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


_THREADS: Final = 16
_DELETES_AT_ONCE: Final = 8
"""Half the threads, so that the deletion of a large folder leaves some to others."""
_MISSING: Final = frozenset({"404", "NoSuchKey", "NotFound"})


class ObjectError(Exception):
    """The object store did not do what was asked."""


class ObjectNotFound(ObjectError):
    """There is no object under that key."""


class ObjectTooLarge(ObjectError):
    """The object has more bytes than the reader accepts."""


class ObjectRefused(ObjectError):
    """The store understood and said no (keys, rights, bucket); trying again will not help."""


class ObjectStoreUnavailable(ObjectError):
    """The store did not answer, or asked to come back later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectHead:
    """What is known of an object without reading it."""

    size: int
    """Bytes."""
    content_type: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    """What its writer noted beside it; names in lower case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedObject:
    """One line of a listing."""

    key: str
    size: int
    """Bytes."""
    modified_at: datetime
    """When it was last written, by the store's clock, in whole seconds."""


P = ParamSpec("P")
Answer = TypeVar("Answer")


class ObjectStore:
    """
    One bucket, reached through one client.

    An async context manager: leaving it ends the threads and the connections. Every method may
    raise ObjectStoreUnavailable and ObjectRefused.
    """

    def __init__(
        self, *, endpoint: str, access_key_id: str, secret_access_key: str, bucket: str
    ) -> None:
        self._bucket = bucket
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="objects")
        self._client: S3Client = boto3.session.Session().client(
            "s3",
            endpoint_url=endpoint,
            aws_access_key_id=access_key_id,
            aws_secret_access_key=secret_access_key,
            region_name="auto",
            config=Config(
                signature_version="s3v4",
                s3={"addressing_style": "path"},
                # R2 has refused boto3's default trailing checksums with 401 and 501.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                connect_timeout=5,
                read_timeout=30,
                retries={"mode": "standard", "total_max_attempts": 3},
                max_pool_connections=_THREADS,
            ),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Close the connections and let the threads end."""
        self._client.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def get(self, key: str, *, max_bytes: int | None = None) -> bytes:
        """Read an object. Raises: ObjectNotFound; ObjectTooLarge when over *max_bytes*."""
        return await self._run(self._get, key, max_bytes)

    async def head(self, key: str) -> ObjectHead:
        """Ask about an object. Raises: ObjectNotFound."""
        answer = await self._run(self._client.head_object, Bucket=self._bucket, Key=key)
        return ObjectHead(
            size=answer["ContentLength"],
            content_type=answer.get("ContentType", ""),
            metadata=answer.get("Metadata", {}),
        )

    async def put(
        self,
        key: str,
        data: bytes | IO[bytes],
        content_type: str,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Write an object from memory, or from a seekable file without loading it."""
        await self._run(
            self._client.put_object,
            Bucket=self._bucket,
            Key=key,
            Body=data,
            ContentType=content_type,
            Metadata=dict(metadata or {}),
        )

    async def delete(self, key: str) -> None:
        """Delete an object; none under that key is success too."""
        await self._run(self._client.delete_object, Bucket=self._bucket, Key=key)

    async def delete_prefix(self, prefix: str) -> int:
        """
        Delete every object under *prefix*, eight at a time; answers how many there were.

        A cancellation stops it between two objects.
        Raises: ValueError for a prefix that is no folder, since `a/b` would delete `a/bc` too.
        """
        if not prefix.endswith("/") or not prefix.strip("/"):
            msg = "a prefix to delete must name a folder and end in a slash"
            raise ValueError(msg)
        count = 0
        async for page in self.pages(prefix):
            await self.delete_many([item.key for item in page])
            count += len(page)
        return count

    async def delete_many(self, keys: Sequence[str]) -> None:
        """Delete these objects, eight at a time; what is not there is success too."""
        # Single deletions: stores differ on the checksum that delete_objects needs.
        for start in range(0, len(keys), _DELETES_AT_ONCE):
            await asyncio.gather(
                *(self.delete(key) for key in keys[start : start + _DELETES_AT_ONCE])
            )

    async def pages(self, prefix: str) -> AsyncIterator[list[ListedObject]]:
        """List what lies under *prefix*, by key, in pages of at most 1000."""
        # By the last key, not by the store's own token: that may end while a page is worked on.
        after = prefix
        while page := await self._run(self._page, prefix, after):
            yield page
            after = page[-1].key

    def sign_get(self, key: str, seconds: int, download_name: str | None = None) -> str:
        """A URL that reads one object for *seconds*; with *download_name* browsers save it."""
        params: dict[str, Any] = {}
        if download_name is not None:
            params["ResponseContentDisposition"] = f'attachment; filename="{download_name}"'
        return self._client.generate_presigned_url(
            "get_object", Params={"Bucket": self._bucket, "Key": key, **params}, ExpiresIn=seconds
        )

    async def ping(self) -> None:
        """Ask for the bucket. Raises: ObjectStoreUnavailable, ObjectRefused."""
        await self._run(self._client.head_bucket, Bucket=self._bucket)

    def _page(self, prefix: str, after: str) -> list[ListedObject]:
        answer = self._client.list_objects_v2(Bucket=self._bucket, Prefix=prefix, StartAfter=after)
        return [
            ListedObject(key=item["Key"], size=item["Size"], modified_at=item["LastModified"])
            for item in answer.get("Contents", [])
        ]

    def _get(self, key: str, max_bytes: int | None) -> bytes:
        answer = self._client.get_object(Bucket=self._bucket, Key=key)
        body = answer["Body"]
        if max_bytes is not None and answer["ContentLength"] > max_bytes:
            body.close()
            raise ObjectTooLarge(key)
        return body.read()

    async def _run(self, call: Callable[P, Answer], *args: P.args, **kwargs: P.kwargs) -> Answer:
        def translated() -> Answer:
            with _translated():
                return call(*args, **kwargs)

        return await asyncio.get_running_loop().run_in_executor(self._threads, translated)


@contextmanager
def _translated() -> Iterator[None]:
    """Turn botocore's errors into ours."""
    try:
        yield
    except ClientError as error:
        raise _from_answer(error) from error
    except (BotoCoreError, OSError) as error:
        raise ObjectStoreUnavailable(type(error).__name__) from error


def _from_answer(error: ClientError) -> ObjectError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code in _MISSING:
        return ObjectNotFound(code)
    busy = status in {0, HTTPStatus.TOO_MANY_REQUESTS} or code == "SlowDown"
    if busy or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return ObjectStoreUnavailable(f"{status} {code}")
    return ObjectRefused(f"{status} {code}")
