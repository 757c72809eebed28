"""The `/auth/v1` routes of the gateway: GoTrue's wire for users with a password."""
