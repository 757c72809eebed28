"""Webhooks to users: what the log, the signature and the lease cost over a plain loop."""
