-- Schemas, and who may enter them. New objects in `public` are granted to the API's roles, as
-- hosted: there, row-level security is the lock and a grant alone opens nothing.

create schema auth authorization supabase_auth_admin;
create schema extensions;
create schema realtime authorization supabase_realtime_admin;
create schema storage authorization supabase_storage_admin;

grant usage on schema public, auth, extensions, realtime, storage
to anon, authenticated, service_role, dashboard_user;
-- Authentication runs as this role; triggers on auth.users that reach further must say
-- `security definer`, here as on a hosted project.
grant usage on schema public, extensions to supabase_auth_admin;

alter default privileges for role postgres in schema public
grant all on tables to anon, authenticated, service_role;
alter default privileges for role postgres in schema public
grant all on sequences to anon, authenticated, service_role;
alter default privileges for role postgres in schema public
grant all on functions to anon, authenticated, service_role;

alter database postgres set search_path to '$user', public, extensions;

create extension pgcrypto with schema extensions;
create extension "uuid-ossp" with schema extensions;

-- What the official CLI reads and writes; it would create the same.
create schema supabase_migrations;
create table supabase_migrations.schema_migrations (
    version text not null primary key,
    statements text [],
    name text
);
