-- A role with the rights that `postgres` has on a hosted project, where it is no superuser.
-- check_database.py applies the migrations as this role, so that nothing in them needs more.

create role hosted_postgres login createrole createdb bypassrls replication;
grant anon, authenticated, service_role to hosted_postgres;
grant create on database postgres to hosted_postgres;
alter schema public owner to hosted_postgres;
alter default privileges for role hosted_postgres in schema public
grant all on tables to anon, authenticated, service_role;
alter default privileges for role hosted_postgres in schema public
grant all on sequences to anon, authenticated, service_role;
alter default privileges for role hosted_postgres in schema public
grant all on functions to anon, authenticated, service_role;

grant usage on schema auth, realtime, extensions to hosted_postgres;
grant all on all tables in schema auth to hosted_postgres;
-- Hosted, an extension lets `postgres` write policies on a table that it does not own.
alter table realtime.messages owner to hosted_postgres;
alter publication supabase_realtime owner to hosted_postgres;
alter schema supabase_migrations owner to hosted_postgres;
alter table supabase_migrations.schema_migrations owner to hosted_postgres;
