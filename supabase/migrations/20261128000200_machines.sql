-- GPU hosts. Each signs in as an Auth user of its own, so one can be shut out at once.

create table segmentation.machines (
    id uuid primary key,
    name text not null,
    enabled boolean not null default true,
    capabilities jsonb not null default '{}',
    created_at timestamptz not null default now(),
    last_seen_at timestamptz,

    constraint machines_is_an_auth_user foreign key (id) references auth.users (id) on delete cascade,
    constraint machines_name_length check (char_length(name) between 1 and 120),
    constraint machines_capabilities_is_object check (jsonb_typeof(capabilities) = 'object')
);
comment on table segmentation.machines is 'A GPU host that may work on tasks. Only operators change it.';
comment on column segmentation.machines.enabled is 'Asked in every call; false shuts the machine out at once.';
comment on column segmentation.machines.capabilities is 'What it can do: kinds, model, memory.';
comment on column segmentation.machines.last_seen_at is 'Last claim, to about ten seconds.';

alter table segmentation.machines enable row level security;
create policy "Nobody reads machines but functions" on segmentation.machines
for select to authenticated
using (false);

create function segmentation.register_machine(p_id uuid, p_name text, p_capabilities jsonb)
returns text
language plpgsql
security definer
set search_path = ''
as $$
begin
    perform segmentation.require_operator();
    if not exists (select 1 from auth.users where users.id = p_id) then
        perform segmentation.refuse(404, 'not_found', 'No Auth user has that id.');
    end if;
    insert into segmentation.machines (id, name, capabilities)
    values (p_id, p_name, coalesce(p_capabilities, '{}'))
    on conflict (id) do update
    set name = excluded.name, capabilities = excluded.capabilities;
    return 'ok';
end;
$$;
comment on function segmentation.register_machine is 'See public.register_machine.';
revoke execute on function segmentation.register_machine from public;
grant execute on function segmentation.register_machine to service_role;

create function public.register_machine(p_id uuid, p_name text, p_capabilities jsonb default '{}')
returns text
language sql
security invoker
set search_path = ''
as $$
    select segmentation.register_machine(p_id, p_name, p_capabilities);
$$;
comment on function public.register_machine is
'Operators: let an Auth user with app_metadata.kind = gpu work; again: rename it, without enabling it.';
revoke execute on function public.register_machine from public, anon, authenticated, service_role;
grant execute on function public.register_machine to service_role;

create function segmentation.set_machine_enabled(p_id uuid, p_enabled boolean)
returns text
language plpgsql
security definer
set search_path = ''
as $$
begin
    perform segmentation.require_operator();
    update segmentation.machines set enabled = p_enabled where id = p_id;
    if not found then
        perform segmentation.refuse(404, 'not_found', 'No machine has that id.');
    end if;
    return 'ok';
end;
$$;
comment on function segmentation.set_machine_enabled is 'See public.set_machine_enabled.';
revoke execute on function segmentation.set_machine_enabled from public;
grant execute on function segmentation.set_machine_enabled to service_role;

create function public.set_machine_enabled(p_id uuid, p_enabled boolean)
returns text
language sql
security invoker
set search_path = ''
as $$
    select segmentation.set_machine_enabled(p_id, p_enabled);
$$;
comment on function public.set_machine_enabled is
'Operators: shut a machine out, or let it in again. What it held is reaped.';
revoke execute on function public.set_machine_enabled from public, anon, authenticated, service_role;
grant execute on function public.set_machine_enabled to service_role;
