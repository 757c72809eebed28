-- One row per user with pending tasks in a queue class, so that a claim looks at users and not at
-- all their tasks. The row is there while a task waits, and knows how many wait: counting them at
-- each submit took 33 ms at a hundred thousand.

create table segmentation.user_queues (
    queue_class_id integer not null,
    user_id uuid not null,
    virtual_start bigint not null,
    waiting integer not null default 0,

    constraint user_queues_pkey primary key (queue_class_id, user_id),
    constraint user_queues_of_a_class foreign key (queue_class_id) references segmentation.queue_classes (id),
    constraint user_queues_user_has_a_profile
    foreign key (user_id) references public.users_profile (id) on delete cascade
)
-- A row moves at every claim.
with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01);
comment on table segmentation.user_queues is 'Users with pending tasks in a queue class.';
comment on column segmentation.user_queues.virtual_start is
'At most that of their first pending task there; claims correct it.';
comment on column segmentation.user_queues.waiting is 'Pending tasks of that user in that class.';

-- Read by pick_tasks, front to back.
create index user_queues_in_order on segmentation.user_queues (virtual_start, queue_class_id, user_id);
-- Read by refuse_full_queue, and by the cascade from users_profile.
create index user_queues_by_user on segmentation.user_queues (user_id);

alter table segmentation.user_queues enable row level security;
create policy "Nobody reads user queues but functions" on segmentation.user_queues
for select to authenticated
using (false);

create function segmentation.set_queue_position()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    -- The row is locked even where its virtual start stays. So a claim that removes it, because it
    -- sees nothing pending, and a submit at the same moment cannot miss each other.
    insert into segmentation.user_queues as queue (queue_class_id, user_id, virtual_start, waiting)
    values (new.queue_class_id, new.user_id, new.virtual_start, 1)
    on conflict (queue_class_id, user_id) do update
    set virtual_start = least(queue.virtual_start, excluded.virtual_start), waiting = queue.waiting + 1;
    return null;
end;
$$;
comment on function segmentation.set_queue_position is
'Trigger: a pending task is counted in its user''s queue, at its virtual start.';
revoke execute on function segmentation.set_queue_position from public;

create trigger segmentation_results_b_set_queue_position_on_insert
after insert on public.segmentation_results
for each row execute function segmentation.set_queue_position();
create trigger segmentation_results_b_set_queue_position_on_return
after update on public.segmentation_results
for each row
when (new.status = 'pending' and (old.status <> 'pending' or old.queue_class_id <> new.queue_class_id))
execute function segmentation.set_queue_position();

create function segmentation.leave_queue()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    update segmentation.user_queues as queue set waiting = queue.waiting - 1
    where queue.queue_class_id = new.queue_class_id and queue.user_id = new.user_id and queue.waiting > 0;
    -- The row is locked now: a submit at the same moment waits for us, and then makes a new row.
    delete from segmentation.user_queues as queue
    where
        queue.queue_class_id = new.queue_class_id and queue.user_id = new.user_id and queue.waiting = 0
        -- The tasks decide: one without this row would never be claimed.
        and not exists (
            select 1 from public.segmentation_results as results
            where
                results.user_id = new.user_id
                and results.queue_class_id = new.queue_class_id
                and results.status = 'pending'
        );
    return null;
end;
$$;
comment on function segmentation.leave_queue is
'Trigger: a task that ended without being claimed waits no longer; the last one takes the user''s queue along.';
revoke execute on function segmentation.leave_queue from public;

-- At the commit: a submit locks the profile first and then the queue, and a cancel must not hold
-- the queue while it waits for the profile.
create constraint trigger segmentation_results_b_leave_queue
after update on public.segmentation_results
deferrable initially deferred
for each row
when (old.status = 'pending' and new.finished_at is not null)
execute function segmentation.leave_queue();
