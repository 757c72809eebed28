"""
The object store: R2, or any server that speaks S3.

boto3 signs, retries and knows the protocol; it blocks, so its calls run in this store's own
threads over one shared client. Signing a URL needs no network and is done in place.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Final, Literal, ParamSpec, Self, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from adapters import listing, multipart


if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


_THREADS: Final = 16
_DELETES_AT_ONCE: Final = 8
"""Half the threads, so that a large folder does not keep others waiting."""
_MISSING: Final = frozenset({"404", "NoSuchKey", "NotFound"})
_SERVER_FAULT: Final = 500
_TOO_MANY: Final = 429


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
    etag: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    """What its writer noted beside it; names in lower case."""


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
        """Open nothing yet; connections come with the first call."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
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
            etag=answer["ETag"].strip('"'),
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

    async def put_stream(self, key: str, chunks: AsyncIterator[bytes], content_type: str) -> int:
        """
        Write an object from a stream of unknown length and answer its size in bytes.

        Three parts at most are in memory. A stream that fails or is cancelled leaves no object
        and no open upload.
        """
        pieces = multipart.pieces(chunks)
        first = await anext(pieces, b"")
        if len(first) < multipart.PART_BYTES:
            await self.put(key, first, content_type)
            return len(first)
        upload = multipart.Multipart(self._client, self._bucket, key)
        await self._run(upload.begin, content_type)
        try:
            await self._run(upload.add, first)
            del first  # or it would be kept beside every later part
            async for piece in pieces:
                await self._run(upload.add, piece)
            await self._run(upload.finish)
        except BaseException:
            # Shielded: an abandoned upload costs storage until somebody finds it.
            await asyncio.shield(self._run(upload.abort))
            raise
        return upload.size

    async def copy(self, source: str, target: str) -> None:
        """Copy inside the bucket. Raises: ObjectNotFound."""
        await self._run(
            self._client.copy_object,
            Bucket=self._bucket,
            Key=target,
            CopySource={"Bucket": self._bucket, "Key": source},
        )

    async def delete(self, key: str) -> None:
        """Delete an object; none under that key is success too."""
        await self._run(self._client.delete_object, Bucket=self._bucket, Key=key)

    async def delete_prefix(self, prefix: str) -> int:
        """
        Delete every object under *prefix* and answer how many there were.

        Eight at a time; a caller that is cancelled stops it between two objects.
        Raises: ValueError for a prefix that is no folder, so that `a/b` never takes `a/bc` along.
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
        # One by one: delete_objects needs a checksum trailer that stores differ on.
        for start in range(0, len(keys), _DELETES_AT_ONCE):
            await asyncio.gather(
                *(self.delete(key) for key in keys[start : start + _DELETES_AT_ONCE])
            )

    async def pages(self, prefix: str) -> AsyncIterator[list[listing.ListedObject]]:
        """List what lies under *prefix*, by key, in pages of at most 1000."""
        after = ""
        while True:
            page = await self._run(listing.page, self._client, self._bucket, prefix, after)
            if not page:
                return
            yield page
            after = page[-1].key

    def sign_get(self, key: str, seconds: int, download_name: str | None = None) -> str:
        """A URL that reads one object for *seconds*; *download_name* makes browsers save it."""
        params: dict[str, Any] = {}
        if download_name is not None:
            params["ResponseContentDisposition"] = f'attachment; filename="{download_name}"'
        return self._sign("get_object", key, seconds, params)

    def sign_put(self, key: str, seconds: int, content_type: str | None = None) -> str:
        """A URL that writes one object for *seconds*, with exactly that type if one is given."""
        return self._sign(
            "put_object", key, seconds, {"ContentType": content_type} if content_type else {}
        )

    async def ping(self) -> None:
        """Ask for the bucket. Raises: ObjectStoreUnavailable, ObjectRefused."""
        await self._run(self._client.head_bucket, Bucket=self._bucket)

    def _sign(
        self,
        operation: Literal["get_object", "put_object"],
        key: str,
        seconds: int,
        params: dict[str, Any],
    ) -> str:
        return self._client.generate_presigned_url(
            operation, Params={"Bucket": self._bucket, "Key": key, **params}, ExpiresIn=seconds
        )

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
    """The one seam where botocore's errors become ours."""
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
    if status >= _SERVER_FAULT or status in {0, _TOO_MANY} or code == "SlowDown":
        return ObjectStoreUnavailable(f"{status} {code}")
    return ObjectRefused(f"{status} {code}")
