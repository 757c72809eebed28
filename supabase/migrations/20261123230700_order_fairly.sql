-- Fair order between users: start-time fair queueing (Goyal, Vin and Cheng, 1996).
--
-- Each task gets a place when it is submitted: the virtual time at which it would start if every
-- user had a machine of their own, whose speed is the weight of their tier. Tasks are claimed by
-- place, so whoever has waited with few tasks goes before the two-thousandth task of another.
-- Virtual time stands still while nothing is claimed, so an idle user saves nothing up, and one who
-- worked alone owes nothing.

create sequence segmentation.virtual_time_image as bigint minvalue 0;
comment on sequence segmentation.virtual_time_image is
'Latest start among the claimed pictures. A sequence, for it moves without a lock and may skip.';
create sequence segmentation.virtual_time_video as bigint minvalue 0;
comment on sequence segmentation.virtual_time_video is 'Latest start among the claimed videos.';

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

create table segmentation.fair_clocks (
    user_id uuid not null,
    kind text not null,
    finish bigint not null,

    constraint fair_clocks_pkey primary key (user_id, kind),
    constraint fair_clocks_user_has_a_profile
    foreign key (user_id) references public.users_profile (id) on delete cascade
);
comment on table segmentation.fair_clocks is 'Where the next task of a user would start.';
comment on column segmentation.fair_clocks.finish is 'Virtual time: a credit is 1000, divided by the tier''s weight.';

alter table segmentation.fair_clocks enable row level security;

create policy "Nobody reads fair clocks but functions" on segmentation.fair_clocks
for select to authenticated
using (false);

create function segmentation.take_place(p_task public.segmentation_results, p_tier segmentation.tiers)
returns bigint
language plpgsql
security invoker
set search_path = ''
as $$
declare
    step bigint := greatest(1, p_task.cost * 1000 / p_tier.weight);
    start bigint;
begin
    insert into segmentation.fair_clocks as clock (user_id, kind, finish)
    values (p_task.user_id, p_task.kind, segmentation.virtual_time(p_task.kind) + step)
    on conflict (user_id, kind) do update
    set finish = greatest(clock.finish, segmentation.virtual_time(p_task.kind)) + step
    returning clock.finish - step into start;
    return start - p_tier.head_start * 1000::bigint;
end;
$$;
comment on function segmentation.take_place is 'The place of a new task; its user''s next one comes behind it.';
revoke execute on function segmentation.take_place from public;

create table segmentation.turns (
    lane_id integer not null,
    user_id uuid not null,
    place bigint not null,

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

-- Read by claim_tasks, front to back.
create index turns_by_place on segmentation.turns (place, lane_id, user_id);
-- The foreign key's cascade.
create index turns_by_user on segmentation.turns (user_id);

alter table segmentation.turns enable row level security;

create policy "Nobody reads turns but functions" on segmentation.turns
for select to authenticated
using (false);
