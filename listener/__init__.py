"""Wakes on hints, claims tasks, holds leases, moves bytes, settles."""
