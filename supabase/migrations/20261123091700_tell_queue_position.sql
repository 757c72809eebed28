-- queue_position: how long is the line?

create function segmentation.queue_position(p_id uuid)
returns integer
language sql
stable
security definer
set search_path = ''
as $$
    select (
        select count(*)::integer
        from public.segmentation_results as ahead
        where ahead.status = 'pending' and (ahead.run_after, ahead.id) < (task.run_after, task.id)
    )
    from public.segmentation_results as task
    where task.id = p_id and task.user_id = auth.uid() and task.status = 'pending';
$$;
comment on function segmentation.queue_position is 'See public.queue_position.';
revoke execute on function segmentation.queue_position from public;
grant execute on function segmentation.queue_position to authenticated;

create function public.queue_position(p_id uuid)
returns integer
language sql
stable
security invoker
set search_path = ''
as $$
    select segmentation.queue_position(p_id);
$$;
comment on function public.queue_position is
'Pending tasks in front of the caller''s task; 0 is next, null: not pending, or not theirs.';
revoke execute on function public.queue_position from public, anon, authenticated, service_role;
grant execute on function public.queue_position to authenticated;
