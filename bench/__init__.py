"""Benchmarks; each prints a table and fails when it misses a target."""
