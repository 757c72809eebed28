"""The rest routes of the gateway."""
