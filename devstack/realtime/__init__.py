"""The realtime routes of the gateway."""
