-- What a task needs, when it expires, and where it stands.

alter table public.segmentation_results
add column deadline_seconds integer,
add column expires_at timestamptz,
add column needs jsonb not null default '{}',
add column lane_id integer,
add column place bigint not null default 0,
add column blocked_by text;
comment on column public.segmentation_results.deadline_seconds is
'Not started within that many seconds, it is cancelled and costs nothing.';
comment on column public.segmentation_results.expires_at is 'created_at + deadline_seconds.';
comment on column public.segmentation_results.needs is
'What it asks of a machine: model_revision, dtype, memory_mb, pixels.';
comment on column public.segmentation_results.lane_id is
'Where it waits: its needs, and the memory that it turned out to need.';
comment on column public.segmentation_results.place is 'Its place in the fair order; kept over retries.';
comment on column public.segmentation_results.blocked_by is
'Why nobody who is online can start it; null: somebody can.';

update public.segmentation_results as results
set
    lane_id = lanes.id,
    place = line.place
from segmentation.lanes
cross join (
    select
        id,
        row_number() over (partition by user_id order by run_after, id) as place
    from public.segmentation_results
) as line
where line.id = results.id and lanes.kind = results.kind;

alter table public.segmentation_results
alter column lane_id set not null,
add constraint segmentation_results_waits_in_a_lane foreign key (lane_id) references segmentation.lanes (id),
add constraint segmentation_results_blocked_by_known
foreign key (blocked_by) references segmentation.error_codes (code),
add constraint segmentation_results_deadline_within_a_week check (deadline_seconds between 1 and 604800),
add constraint segmentation_results_needs_is_object check (jsonb_typeof(needs) = 'object'),
drop constraint segmentation_results_kind_known,
add constraint segmentation_results_kind_known check (kind in ('image', 'video'));

grant insert (deadline_seconds, needs) on public.segmentation_results to authenticated;

-- Claims go by turns and places now.
drop index public.segmentation_results_claimable;
-- Read by claim_tasks and task_outlook: a user's line in a lane; and the count against max_waiting.
create index segmentation_results_in_line on public.segmentation_results (user_id, lane_id, place, id)
where status = 'pending';
-- Read by claim_tasks: what else waits for the same picture? And by orphaned_objects.
-- By hash, for the keys are long and only ever compared whole.
create index segmentation_results_by_source on public.segmentation_results using hash (source_image_url);
-- Read by reap_tasks.
create index segmentation_results_expiring on public.segmentation_results (expires_at)
where status = 'pending' and expires_at is not null;
-- The foreign keys.
create index segmentation_results_by_lane on public.segmentation_results (lane_id)
where status = 'pending';
create index segmentation_results_blocked on public.segmentation_results (blocked_by)
where blocked_by is not null;

insert into segmentation.turns (lane_id, user_id, place)
select
    lane_id,
    user_id,
    min(place) as place
from public.segmentation_results
where status = 'pending'
group by lane_id, user_id;

create function segmentation.stand_in_line()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    -- The row is locked even where it stays as it is. So a claim that removes a turn, because it
    -- sees nobody in line, and we who join it cannot miss each other.
    insert into segmentation.turns as turn (lane_id, user_id, place)
    values (new.lane_id, new.user_id, new.place)
    on conflict (lane_id, user_id) do update
    set place = excluded.place
    where turn.place > excluded.place;
    return null;
end;
$$;
comment on function segmentation.stand_in_line is
'Trigger: whoever has a pending task has a turn, before or at its place.';
revoke execute on function segmentation.stand_in_line from public;

create trigger segmentation_results_b_stand_in_line_on_insert
after insert on public.segmentation_results
for each row execute function segmentation.stand_in_line();

create trigger segmentation_results_b_stand_in_line_on_return
after update on public.segmentation_results
for each row
when (new.status = 'pending' and (old.status <> 'pending' or old.lane_id <> new.lane_id))
execute function segmentation.stand_in_line();
