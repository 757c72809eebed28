"""The Python SDK for people who use the service."""

from client.client import S3Client
from client.errors import (
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
from client.segmentation import Segmentation, read_manifest
from client.session import Session
from client.settings import ClientSettings


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
