"""Cleans up beside the API: reaping, deletions, retention, orphaned objects, the ledger's check."""
