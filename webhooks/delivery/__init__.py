"""Sends the users' webhooks: claims what is due, signs it, posts it, settles the answer."""
