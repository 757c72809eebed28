"""The s3 command."""
