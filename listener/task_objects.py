"""
The seam to the object store: an attempt's own objects and no others.

A rented host holds no bucket keys and takes `listener.signed_objects`, which asks the Edge Function
`job-urls` for signed URLs; `BucketObjects` is for a host that is trusted with the keys.
"""

from collections.abc import Mapping
from typing import Protocol

from adapters import objects
from listener.lease_store import Claim
from s3_sam3.contracts import limits, object_keys


class TaskObjects(Protocol):
    """
    What an attempt may read and write.

    Reading and writing raise the errors of `adapters.objects`.
    """

    async def read_source(self, claim: Claim) -> bytes:
        """The picture's bytes."""
        ...

    def announce(self, claim: Claim, sizes: Mapping[str, int]) -> None:
        """Say which result files come, and their bytes; one question may then do for all."""
        ...

    async def write_result(self, claim: Claim, name: str, data: bytes, content_type: str) -> str:
        """Write one result file of this attempt; answers its key."""
        ...


class BucketObjects:
    """TaskObjects for a host that holds the bucket's keys."""

    def __init__(self, store: objects.ObjectStore) -> None:
        self._store = store

    async def read_source(self, claim: Claim) -> bytes:
        """Read the upload, refusing a key outside the owner's uploads."""
        if not object_keys.is_upload_of(claim.source_image_url, claim.user_id):
            raise objects.ObjectNotFound(claim.source_image_url)
        return await self._store.get(claim.source_image_url, max_bytes=limits.MAX_UPLOAD_BYTES)

    def announce(self, claim: Claim, sizes: Mapping[str, int]) -> None:
        """Nobody need be asked."""

    async def write_result(self, claim: Claim, name: str, data: bytes, content_type: str) -> str:
        """Write under the token's own prefix, where a zombie of this task cannot write."""
        key = object_keys.result_prefix(claim.user_id, claim.id, claim.token) + name
        await self._store.put(key, data, content_type)
        return key
