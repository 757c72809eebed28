-- What an owner may do to a task after submitting it.

create function segmentation.lock_own_task(p_id uuid)
returns public.segmentation_results
language plpgsql
security invoker
set search_path = ''
as $$
declare
    task public.segmentation_results;
begin
    select * into task
    from public.segmentation_results as results
    where results.id = p_id and results.user_id = auth.uid()
    for update;
    if not found then
        perform segmentation.refuse(404, 'not_found', 'No task of yours has that id.');
    end if;
    return task;
end;
$$;
comment on function segmentation.lock_own_task is 'Lock and read a task of the caller; PT404 for anybody else''s.';
revoke execute on function segmentation.lock_own_task from public;

create function segmentation.cancel_task(p_id uuid)
returns text
language plpgsql
security definer
set search_path = ''
as $$
declare
    task public.segmentation_results := segmentation.lock_own_task(p_id);
begin
    if task.finished_at is not null then
        return 'already_final';
    end if;
    perform segmentation.end_attempt(attempts.token, 'cancelled')
    from segmentation.attempts
    where attempts.result_id = p_id and attempts.ended_at is null;
    perform segmentation.close_task(p_id, 'cancelled');
    return 'ok';
end;
$$;
comment on function segmentation.cancel_task is 'See public.cancel_task.';
revoke execute on function segmentation.cancel_task from public;
grant execute on function segmentation.cancel_task to authenticated;

create function public.cancel_task(p_id uuid)
returns text
language sql
security invoker
set search_path = ''
as $$
    select segmentation.cancel_task(p_id);
$$;
comment on function public.cancel_task is
'Withdraw a task: ok or already_final. Gives the credits back; its worker''s token goes stale.';
revoke execute on function public.cancel_task from public, anon, authenticated, service_role;
grant execute on function public.cancel_task to authenticated;

create function segmentation.delete_result(p_id uuid)
returns text
language plpgsql
security definer
set search_path = ''
as $$
declare
    task public.segmentation_results := segmentation.lock_own_task(p_id);
begin
    if task.finished_at is null then
        perform segmentation.cancel_task(p_id);
    end if;
    delete from public.segmentation_results where id = p_id;
    return 'ok';
end;
$$;
comment on function segmentation.delete_result is 'See public.delete_result.';
revoke execute on function segmentation.delete_result from public;
grant execute on function segmentation.delete_result to authenticated;

create function public.delete_result(p_id uuid)
returns text
language sql
security invoker
set search_path = ''
as $$
    select segmentation.delete_result(p_id);
$$;
comment on function public.delete_result is
'Remove a task, its attempts and, soon after, its objects: ok. The upload stays, other tasks may read it.';
revoke execute on function public.delete_result from public, anon, authenticated, service_role;
grant execute on function public.delete_result to authenticated;
