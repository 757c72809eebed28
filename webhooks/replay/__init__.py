"""Sends webhooks again: reads messages, plans, sends, compares, records (docs/replay.md)."""

from s3_sam3.errors import S3Error


class UsageError(S3Error):
    """What was asked cannot be done; nothing was sent."""
