"""Unchecked bytes to upright RGB pictures, in child processes."""
