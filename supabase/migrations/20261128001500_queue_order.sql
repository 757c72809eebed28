-- Fair order between users: start-time fair queueing (Goyal, Vin and Cheng, 1996).
--
-- Each task gets a place when it is submitted: the virtual time at which it would start if every
-- user had a machine of their own, whose speed is the weight of their tier. Tasks are claimed by
-- place, so a user who has waited with few tasks goes before the two-thousandth task of another.
-- Virtual time stands still while nothing is claimed, so an idle user saves nothing up, and one who
-- worked alone owes nothing. A user's clock counts what was claimed for them, not what they
-- submitted: a cancelled or expired backlog is charged to nobody.

create sequence segmentation.virtual_time_image as bigint minvalue 0;
comment on sequence segmentation.virtual_time_image is
'Latest start among the claimed pictures. A sequence, for it moves without a lock and may skip.';
create sequence segmentation.virtual_time_video as bigint minvalue 0;
comment on sequence segmentation.virtual_time_video is 'Latest start among the claimed videos.';

create table segmentation.fair_clocks (
    user_id uuid not null,
    kind text not null,
    finish bigint not null,

    constraint fair_clocks_pkey primary key (user_id, kind),
    constraint fair_clocks_user_has_a_profile
    foreign key (user_id) references public.users_profile (id) on delete cascade
)
-- Its columns move at every claim.
with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01);
comment on table segmentation.fair_clocks is 'What was claimed for a user: their next task starts no earlier.';
comment on column segmentation.fair_clocks.finish is
'Where their claimed tasks end, in virtual time: a credit is 1000, divided by the tier''s weight. Only claims move it.';

alter table segmentation.fair_clocks enable row level security;
create policy "Nobody reads fair clocks but functions" on segmentation.fair_clocks
for select to authenticated
using (false);

create table segmentation.turns (
    lane_id integer not null,
    user_id uuid not null,
    place bigint not null,
    waiting integer not null default 0,

    constraint turns_pkey primary key (lane_id, user_id),
    constraint turns_in_a_lane foreign key (lane_id) references segmentation.lanes (id),
    constraint turns_user_has_a_profile
    foreign key (user_id) references public.users_profile (id) on delete cascade
)
-- A turn moves at every claim.
with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01);
comment on table segmentation.turns is
'One row per user with pending tasks in a lane, so that a claim looks at users and not at all their tasks.';
comment on column segmentation.turns.place is 'At most the place of their first pending task there; claims correct it.';
comment on column segmentation.turns.waiting is 'Pending tasks of that user in that lane.';

-- Read by claim_tasks, front to back.
create index turns_by_place on segmentation.turns (place, lane_id, user_id);
-- The foreign key's cascade.
create index turns_by_user on segmentation.turns (user_id);

alter table segmentation.turns enable row level security;
create policy "Nobody reads turns but functions" on segmentation.turns
for select to authenticated
using (false);

create function segmentation.virtual_time(p_kind text)
returns bigint
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    if p_kind = 'video' then
        return (select last_value from segmentation.virtual_time_video);
    end if;
    return (select last_value from segmentation.virtual_time_image);
end;
$$;
comment on function segmentation.virtual_time is 'The virtual time of a kind.';
revoke execute on function segmentation.virtual_time from public;

create function segmentation.advance_virtual_time(p_kind text, p_to bigint)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    if p_to > segmentation.virtual_time(p_kind) then
        perform setval('segmentation.virtual_time_' || p_kind, p_to);
    end if;
end;
$$;
comment on function segmentation.advance_virtual_time is 'Let the virtual time of a kind move on; never back.';
revoke execute on function segmentation.advance_virtual_time from public;

create function segmentation.step_of(p_cost integer, p_tier segmentation.tiers)
returns bigint
language sql
immutable
security invoker
set search_path = ''
as $$
    select greatest(1, p_cost * 1000::bigint / p_tier.weight);
$$;
comment on function segmentation.step_of is 'How far a task of that cost moves its user''s clock.';
revoke execute on function segmentation.step_of from public;

create function segmentation.waits_until(p_user_id uuid, p_kind text, p_tier segmentation.tiers)
returns bigint
language sql
stable
security invoker
set search_path = ''
as $$
    -- The lanes by their rows, for a turn is written only at the end of an insert of many.
    with recursive line (lane_id) as (
        (
            select first.lane_id from public.segmentation_results as first
            where first.user_id = p_user_id and first.status = 'pending'
            order by first.user_id, first.lane_id, first.place, first.id
            limit 1
        )
        union all
        select (
            select next.lane_id from public.segmentation_results as next
            where next.user_id = p_user_id and next.status = 'pending' and next.lane_id > line.lane_id
            order by next.user_id, next.lane_id, next.place, next.id
            limit 1
        )
        from line
        where line.lane_id is not null
    )
    select max(last.place + p_tier.head_start * 1000::bigint + segmentation.step_of(last.cost, p_tier))
    from line
    inner join segmentation.lanes on line.lane_id = lanes.id and lanes.kind = p_kind
    cross join lateral (
        select results.place, results.cost from public.segmentation_results as results
        where results.user_id = p_user_id and results.lane_id = line.lane_id and results.status = 'pending'
        order by results.place desc, results.id desc
        limit 1
    ) as last;
$$;
comment on function segmentation.waits_until is 'Where the last pending task of a user ends; null: none waits.';
revoke execute on function segmentation.waits_until from public;

create function segmentation.take_place(p_task public.segmentation_results, p_tier segmentation.tiers)
returns bigint
language plpgsql
security invoker
set search_path = ''
as $$
declare
    had bigint;
begin
    loop
        -- Against the deletion of the user (lock_before_leaving). Shared, for claims write the clock
        -- while they hold the turns that we shall want.
        select clock.finish into had from segmentation.fair_clocks as clock
        where clock.user_id = p_task.user_id and clock.kind = p_task.kind
        for key share;
        exit when found;
        insert into segmentation.fair_clocks (user_id, kind, finish)
        values (p_task.user_id, p_task.kind, 0)
        on conflict (user_id, kind) do nothing;
    end loop;
    -- One submit of a user after the other, so that each sees what the one before has left.
    perform 1 from public.users_profile as profile where profile.id = p_task.user_id for no key update;
    return greatest(
        segmentation.virtual_time(p_task.kind),
        had,
        segmentation.waits_until(p_task.user_id, p_task.kind, p_tier)
    ) - p_tier.head_start * 1000::bigint;
end;
$$;
comment on function segmentation.take_place is 'The place of a new task; its user''s next one comes behind it.';
revoke execute on function segmentation.take_place from public;
