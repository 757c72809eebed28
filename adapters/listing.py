"""Listing a bucket, page by page."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedObject:
    """One line of a listing."""

    key: str
    size: int
    """Bytes."""
    modified_at: datetime
    """When it was last written, by the store's clock, in whole seconds."""


def page(client: "S3Client", bucket: str, prefix: str, after: str) -> list[ListedObject]:
    """
    List at most 1000 objects under *prefix*, by key, from the one behind *after* on.

    By the last key, not by the store's own token: that may end while a page is worked on.
    """
    answer = client.list_objects_v2(Bucket=bucket, Prefix=prefix, StartAfter=after or prefix)
    return [
        ListedObject(key=item["Key"], size=item["Size"], modified_at=item["LastModified"])
        for item in answer.get("Contents", [])
    ]
