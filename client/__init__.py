"""The Python SDK for people who use the service."""
