"""
Tell PostgREST, or what stands in for it, that the schema changed.

Hosted projects have event triggers of these names, which is why there a new function can be called
at once; without them a changed one would be called as it was.
"""

INSTALL = b"""
do $install$
begin
    create or replace function extensions.pgrst_ddl_watch() returns event_trigger
    language plpgsql set search_path = '' as $function$
    begin
        if exists (
            select from pg_catalog.pg_event_trigger_ddl_commands() as command
            where command.schema_name is distinct from 'pg_temp'
            and command.command_tag !~ '(INDEX|POLICY|PUBLICATION|SEQUENCE)'
        ) then
            notify pgrst, 'reload schema';
        end if;
    end;
    $function$;

    create or replace function extensions.pgrst_drop_watch() returns event_trigger
    language plpgsql set search_path = '' as $function$
    begin
        if exists (
            select from pg_catalog.pg_event_trigger_dropped_objects() as dropped
            where not dropped.is_temporary
            and dropped.object_type in (
                'table', 'view', 'materialized view', 'foreign table', 'function', 'type',
                'table column', 'view column', 'table constraint', 'schema'
            )
        ) then
            notify pgrst, 'reload schema';
        end if;
    end;
    $function$;

    if not exists (select from pg_event_trigger where evtname = 'pgrst_ddl_watch') then
        create event trigger pgrst_ddl_watch on ddl_command_end
        execute function extensions.pgrst_ddl_watch();
    end if;
    if not exists (select from pg_event_trigger where evtname = 'pgrst_drop_watch') then
        create event trigger pgrst_drop_watch on sql_drop
        execute function extensions.pgrst_drop_watch();
    end if;
end;
$install$
"""
