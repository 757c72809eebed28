-- Hints: workers hear that something is due, users that their row has moved.
--
-- realtime.send swallows its errors, and a client that is away misses what was sent (hosted Realtime
-- keeps messages for about 72 hours, the devstack keeps none). So a hint may be lost. The row is the
-- truth: workers poll, and clients read the row again whenever they (re)subscribe.

create function segmentation.wake_workers()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    perform realtime.send(jsonb_build_object('id', new.id), 'task_pending', 'workers:' || new.kind, true);
    return null;
end;
$$;
comment on function segmentation.wake_workers is 'Trigger: hint that a task is due. Ids only.';
revoke execute on function segmentation.wake_workers from public;

create trigger segmentation_results_c_wake_on_insert
after insert on public.segmentation_results
for each row execute function segmentation.wake_workers();

-- A retry with backoff sends no hint: nothing is due yet, and the poll will find it.
create trigger segmentation_results_c_wake_on_return
after update on public.segmentation_results
for each row
when (new.status = 'pending' and old.status <> 'pending' and new.run_after <= now())
execute function segmentation.wake_workers();

create function segmentation.tell_owner()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    perform realtime.send(
        jsonb_build_object('id', new.id, 'status', new.status, 'progress', new.progress),
        'task_changed',
        'user:' || new.user_id,
        true
    );
    return null;
end;
$$;
comment on function segmentation.tell_owner is 'Trigger: hint to the owner that status or progress has moved.';
revoke execute on function segmentation.tell_owner from public;

create trigger segmentation_results_d_tell_owner
after update on public.segmentation_results
for each row
when (old.status is distinct from new.status or old.progress is distinct from new.progress)
execute function segmentation.tell_owner();

create function segmentation.may_join(p_topic text)
returns boolean
language sql
stable
security invoker
set search_path = ''
as $$
    select case
        when p_topic like 'user:%' then p_topic = 'user:' || auth.uid()
        when p_topic like 'workers:%' then segmentation.is_enabled_machine()
        else false
    end;
$$;
comment on function segmentation.may_join is
'May the caller join that topic: their own, or as a machine the workers''?';
revoke execute on function segmentation.may_join from public;
grant execute on function segmentation.may_join to authenticated;

create policy "Users hear their own topic, machines the workers' topics" on realtime.messages
for select to authenticated
using (extension = 'broadcast' and segmentation.may_join((select realtime.topic())));

-- A canary proves that a connection still carries messages. Realtime's probe at the join has no
-- event; a service-role client passes by its role, and functions send as their owner.
create policy "Users and machines send canaries where they listen" on realtime.messages
for insert to authenticated
with check (
    extension = 'broadcast'
    and coalesce(event, 'canary') = 'canary'
    and segmentation.may_join((select realtime.topic()))
);
