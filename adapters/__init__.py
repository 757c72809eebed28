"""How the outside is reached: Supabase, R2, Realtime, logs; knows no jobs."""
