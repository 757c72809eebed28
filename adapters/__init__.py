"""How the services reach the outside: Supabase, the object store, users' webhook addresses."""
