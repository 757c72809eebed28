-- What only an operator may do: machines and gifts.

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

create function segmentation.grant_credits(p_user_id uuid, p_credits integer, p_reason text)
returns integer
language plpgsql
security definer
set search_path = ''
as $$
begin
    perform segmentation.require_operator();
    if p_credits is null or p_credits < 1 then
        perform segmentation.refuse(400, 'invalid_request', 'Grant at least one credit.');
    end if;
    return segmentation.add_credits(p_user_id, p_credits, p_reason);
end;
$$;
comment on function segmentation.grant_credits is 'See public.grant_credits.';
revoke execute on function segmentation.grant_credits from public;
grant execute on function segmentation.grant_credits to service_role;

create function public.grant_credits(p_user_id uuid, p_credits integer, p_reason text)
returns integer
language sql
security invoker
set search_path = ''
as $$
    select segmentation.grant_credits(p_user_id, p_credits, p_reason);
$$;
comment on function public.grant_credits is 'Operators: give a user credits; the new balance.';
revoke execute on function public.grant_credits from public, anon, authenticated, service_role;
grant execute on function public.grant_credits to service_role;
