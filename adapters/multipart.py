"""One object written in parts, from a stream whose length nobody knows yet."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final


if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

PART_BYTES: Final = 8 * 1024 * 1024
"""Bytes of one part; S3 asks for at least 5 MiB, and all but the last must be equal for R2."""


class Multipart:
    """The calls of one multipart upload; they block, so the store runs them in its threads."""

    def __init__(self, client: "S3Client", bucket: str, key: str) -> None:
        self._client = client
        self._bucket = bucket
        self._key = key
        self._upload_id = ""
        self._parts: list[CompletedPartTypeDef] = []
        self.size = 0
        """Bytes stored so far."""

    def begin(self, content_type: str) -> None:
        """Open the upload."""
        answer = self._client.create_multipart_upload(
            Bucket=self._bucket, Key=self._key, ContentType=content_type
        )
        self._upload_id = answer["UploadId"]

    def add(self, piece: bytes) -> None:
        """Store the next part."""
        number = len(self._parts) + 1
        answer = self._client.upload_part(
            Bucket=self._bucket,
            Key=self._key,
            UploadId=self._upload_id,
            PartNumber=number,
            Body=piece,
        )
        self._parts.append({"ETag": answer["ETag"], "PartNumber": number})
        self.size += len(piece)

    def finish(self) -> None:
        """Make the parts one visible object."""
        self._client.complete_multipart_upload(
            Bucket=self._bucket,
            Key=self._key,
            UploadId=self._upload_id,
            MultipartUpload={"Parts": self._parts},
        )

    def abort(self) -> None:
        """Throw the parts away."""
        self._client.abort_multipart_upload(
            Bucket=self._bucket, Key=self._key, UploadId=self._upload_id
        )


async def pieces(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Cut a stream into pieces of PART_BYTES; only the last may be shorter."""
    buffer = bytearray()
    async for chunk in chunks:
        buffer += chunk
        while len(buffer) >= PART_BYTES:
            with memoryview(buffer) as view:
                piece = bytes(view[:PART_BYTES])
            del buffer[:PART_BYTES]
            yield piece
    if buffer:
        yield bytes(buffer)
