"""The users' webhooks: delivery sends them, replay sends them again."""
