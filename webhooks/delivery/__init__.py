"""Sends customers their webhooks: claims what is due, signs it, posts it, says how it went."""
