"""`/functions/v1`: Edge Functions, each a Deno process on this machine."""
