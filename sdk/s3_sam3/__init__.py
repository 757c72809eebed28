"""The Python SDK for people who use the service."""

from s3_sam3.client import S3Client
from s3_sam3.errors import (
    ApiError,
    NotSignedIn,
    S3Error,
    SignInFailed,
    TaskCancelled,
    TaskFailed,
    Unreachable,
    UnreadableManifest,
    WaitedTooLong,
)
from s3_sam3.segmentation import Segmentation, read_manifest
from s3_sam3.session import Session
from s3_sam3.settings import ClientSettings


__all__ = [
    "ApiError",
    "ClientSettings",
    "NotSignedIn",
    "S3Client",
    "S3Error",
    "Segmentation",
    "Session",
    "SignInFailed",
    "TaskCancelled",
    "TaskFailed",
    "Unreachable",
    "UnreadableManifest",
    "WaitedTooLong",
    "read_manifest",
]
