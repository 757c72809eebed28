-- Which objects does nobody need any more? The sweeper asks before it deletes.

create function segmentation.is_orphan(p_key text)
returns boolean
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
    part text[] := string_to_array(p_key, '/');
begin
    if p_key ~ '^uploads/[0-9a-f-]{36}/[^/]+$' then
        return not exists (
            select 1 from public.segmentation_results as results where results.source_image_url = p_key
        );
    end if;
    if p_key ~ '^results/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/[0-9]{1,18}/[^/]+$' then
        return not exists (
            select 1 from public.segmentation_results as results
            where
                results.id = part[3]::uuid and results.user_id = part[2]::uuid
                and starts_with(results.manifest_url, array_to_string(part[1:4], '/') || '/')
        ) and not exists (
            select 1 from segmentation.attempts
            where
                attempts.token = part[4]::bigint and attempts.result_id = part[3]::uuid
                and attempts.ended_at is null
        );
    end if;
    -- Nothing of ours.
    return false;
end;
$$;
comment on function segmentation.is_orphan is
'Is it an upload that no task reads, or a result of an attempt that neither won nor is at work?';
revoke execute on function segmentation.is_orphan from public;

create function segmentation.orphaned_objects(p_keys text[])
returns table (key text)
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
    perform segmentation.require_operator();
    if not coalesce(cardinality(p_keys) <= 1000, false) then
        perform segmentation.refuse(400, 'invalid_request', 'Ask for at most 1000 keys at once.');
    end if;
    return query
    select asked.key from unnest(p_keys) as asked (key) where segmentation.is_orphan(asked.key);
end;
$$;
comment on function segmentation.orphaned_objects is 'See public.orphaned_objects.';
revoke execute on function segmentation.orphaned_objects from public;
grant execute on function segmentation.orphaned_objects to service_role;

create function public.orphaned_objects(p_keys text[])
returns table (key text)
language sql
stable
security invoker
set search_path = ''
as $$
    select * from segmentation.orphaned_objects(p_keys);
$$;
comment on function public.orphaned_objects is
'The janitor: those of these object keys that no row needs. What is not a key of ours is never named.';
revoke execute on function public.orphaned_objects from public, anon, authenticated, service_role;
grant execute on function public.orphaned_objects to service_role;
