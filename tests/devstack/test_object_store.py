"""The object store: it takes the place of R2, so it must refuse what R2 refuses."""

import urllib.error
import urllib.request
import uuid
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore import exceptions
from botocore.config import Config

from devstack import testing


if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def client(stack: testing.Stack, secret: str | None = None) -> "S3Client":
    """A client as our programs make theirs for R2."""
    return boto3.client(
        "s3",
        endpoint_url=stack.r2_endpoint,
        aws_access_key_id=stack.r2_access_key_id,
        aws_secret_access_key=secret or stack.r2_secret_access_key,
        region_name="auto",
        config=Config(
            signature_version="s3v4",
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": "path"},
        ),
    )


@pytest.fixture
def key() -> str:
    """A key that nothing has."""
    return f"tests/{uuid.uuid4().hex}"


def test_an_object_comes_back_as_it_was_put(stack: testing.Stack, key: str) -> None:
    """Bytes, content type and metadata survive."""
    s3 = client(stack)
    s3.put_object(
        Bucket=stack.r2_bucket, Key=key, Body=b"bytes", ContentType="image/png", Metadata={"a": "b"}
    )

    found = s3.get_object(Bucket=stack.r2_bucket, Key=key)

    assert found["Body"].read() == b"bytes"
    assert (found["ContentType"], found["Metadata"]) == ("image/png", {"a": "b"})


def test_a_presigned_url_serves_its_object_only(stack: testing.Stack, key: str) -> None:
    """A signature opens one key: the URL works, without or with a changed one it does not."""
    s3 = client(stack)
    s3.put_object(Bucket=stack.r2_bucket, Key=key, Body=b"bytes")
    url = s3.generate_presigned_url("get_object", {"Bucket": stack.r2_bucket, "Key": key})

    assert status(url) == 200
    assert status(url.partition("?")[0]) == 403
    assert status(url.replace(key, key + "x")) == 403


def test_a_wrong_secret_is_refused(stack: testing.Stack, key: str) -> None:
    """Signatures are checked, not only present."""
    with pytest.raises(exceptions.ClientError, match="SignatureDoesNotMatch"):
        client(stack, "wrong").put_object(Bucket=stack.r2_bucket, Key=key, Body=b"")


def test_no_bucket_is_made_by_writing(stack: testing.Stack, key: str) -> None:
    """R2 makes no bucket by itself, so neither does its stand-in."""
    with pytest.raises(exceptions.ClientError, match="NoSuchBucket"):
        client(stack).put_object(Bucket="nobody-made-this", Key=key, Body=b"")


def test_the_probe_of_the_start_is_gone(stack: testing.Stack) -> None:
    """A fresh bucket holds nothing of ours."""
    listed = client(stack).list_objects_v2(Bucket=stack.r2_bucket, Prefix=".devstack")

    assert listed["KeyCount"] == 0


def status(url: str) -> int:
    """Status of a GET."""
    try:
        with urllib.request.urlopen(url) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
