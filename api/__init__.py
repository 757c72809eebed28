"""The public HTTP API: checks requests, stores uploads, queues tasks, reads results."""
