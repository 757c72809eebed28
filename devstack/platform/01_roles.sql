-- The roles that every Supabase project has. Routes of the gateway change into the first three
-- by `set local role`; what those may do is decided by grants and row-level security alone.

create role anon nologin noinherit;
comment on role anon is 'A caller with only the anon key.';

create role authenticated nologin noinherit;
comment on role authenticated is 'A signed-in user.';

create role service_role nologin noinherit bypassrls;
comment on role service_role is 'A caller with the service key; row-level security does not apply.';

create role authenticator login noinherit;
grant anon, authenticated, service_role to authenticator;
comment on role authenticator is 'Who the REST gateway is before it becomes one of the above.';

create role supabase_admin nologin superuser createdb createrole replication bypassrls;
create role supabase_auth_admin nologin noinherit createrole;
create role supabase_realtime_admin nologin noinherit;
create role supabase_storage_admin nologin noinherit createrole;
create role dashboard_user nologin createdb createrole replication;
grant anon, authenticated, service_role to supabase_realtime_admin, supabase_storage_admin;

-- As hosted; PostgREST applies them to the role it changes into.
alter role anon set statement_timeout = '3s';
alter role authenticated set statement_timeout = '8s';
alter role authenticator set statement_timeout = '8s';
alter role authenticator set lock_timeout = '8s';
