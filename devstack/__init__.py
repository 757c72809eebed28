"""A Supabase and an R2 that start on a laptop without Docker."""
