"""Wakes on hints, claims jobs, holds leases, moves bytes, settles."""
