"""Programs that measure what the issues name; each prints a table and fails on a missed target."""
