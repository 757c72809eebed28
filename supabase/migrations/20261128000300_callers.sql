-- Who is calling, and whether they may.

create function segmentation.is_operator()
returns boolean
language sql
stable
security invoker
set search_path = ''
as $$
    -- The role that PostgREST has set; definer functions do not change it, and users cannot.
    select current_setting('role', true) in ('service_role', 'postgres', 'none');
$$;
comment on function segmentation.is_operator is 'Is the caller the service role, or an operator at psql?';
revoke execute on function segmentation.is_operator from public;

create function segmentation.is_enabled_machine()
returns boolean
language sql
stable
security definer
set search_path = ''
as $$
    select
        coalesce(auth.jwt() -> 'app_metadata' ->> 'kind' = 'gpu', false)
        and exists (
            select 1 from segmentation.machines where machines.id = auth.uid() and machines.enabled
        );
$$;
comment on function segmentation.is_enabled_machine is 'Is the caller a machine user that is enabled right now?';
revoke execute on function segmentation.is_enabled_machine from public;
-- The policies on realtime.messages ask it in the caller's name.
grant execute on function segmentation.is_enabled_machine to authenticated;

create function segmentation.require_operator()
returns void
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    if not segmentation.is_operator() then
        perform segmentation.refuse(403, 'forbidden', 'Only the service role may do this.');
    end if;
end;
$$;
comment on function segmentation.require_operator is 'Refuse with PT403 a caller that is no operator.';
revoke execute on function segmentation.require_operator from public;

create function segmentation.require_worker()
returns void
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    if not (segmentation.is_operator() or segmentation.is_enabled_machine()) then
        perform segmentation.refuse(
            403, 'forbidden', 'Only an enabled machine or the service role may work on tasks.'
        );
    end if;
end;
$$;
comment on function segmentation.require_worker is
'Refuse with PT403 a caller that is neither an enabled machine nor an operator.';
revoke execute on function segmentation.require_worker from public;
