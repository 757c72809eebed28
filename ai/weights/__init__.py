"""Weights on disk: fetch, convert, verify, describe."""
