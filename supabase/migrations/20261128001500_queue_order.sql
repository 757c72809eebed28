-- Fair order between users: start-time fair queueing (Goyal, Vin and Cheng, 1996).
--
-- Each task gets a virtual start when it is submitted: the virtual time at which it would start if
-- every user had a machine of their own, whose speed is the weight of their tier. Tasks are claimed
-- by virtual start, so a user with few tasks goes before the two-thousandth task of another.
-- Virtual time stands still while nothing is claimed, so an idle user saves nothing up, and one who
-- worked alone owes nothing. A user's clock counts what was claimed for them, not what they
-- submitted: a cancelled or expired backlog is charged to nobody.

create sequence segmentation.virtual_time_image as bigint minvalue 0;
comment on sequence segmentation.virtual_time_image is
'Latest virtual start among the claimed pictures. A sequence, because it moves without a lock and may skip.';
create sequence segmentation.virtual_time_video as bigint minvalue 0;
comment on sequence segmentation.virtual_time_video is 'Latest virtual start among the claimed videos.';

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
comment on function segmentation.virtual_time is 'Latest virtual start among the claimed tasks of a kind.';
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
comment on function segmentation.advance_virtual_time is
'Move virtual time on, never back. Only claims call it, one after the other.';
revoke execute on function segmentation.advance_virtual_time from public;

create function segmentation.virtual_cost(p_cost integer, p_tier segmentation.tiers)
returns bigint
language sql
immutable
security invoker
set search_path = ''
as $$
    select greatest(1, p_cost * 1000::bigint / p_tier.weight);
$$;
comment on function segmentation.virtual_cost is 'Virtual time that a task of that many credits takes.';
revoke execute on function segmentation.virtual_cost from public;

create function segmentation.backlog_end(p_user_id uuid, p_kind text, p_tier segmentation.tiers)
returns bigint
language sql
stable
security invoker
set search_path = ''
as $$
    select results.virtual_start + p_tier.head_start * 1000::bigint + segmentation.virtual_cost(results.cost, p_tier)
    from public.segmentation_results as results
    where results.user_id = p_user_id and results.kind = p_kind and results.status = 'pending'
    order by results.virtual_start desc
    limit 1;
$$;
comment on function segmentation.backlog_end is
'Virtual time at which the last pending task of a user would end; null: none.';
revoke execute on function segmentation.backlog_end from public;

create function segmentation.next_virtual_start(p_task public.segmentation_results, p_tier segmentation.tiers)
returns bigint
language plpgsql
security invoker
set search_path = ''
as $$
declare
    claimed bigint;
begin
    loop
        -- Against the deletion of the user (lock_before_deletion). Shared, because claims write the
        -- clock while they hold the user_queues that this submit wants next.
        select clock.finish into claimed from segmentation.fair_clocks as clock
        where clock.user_id = p_task.user_id and clock.kind = p_task.kind
        for key share;
        exit when found;
        insert into segmentation.fair_clocks (user_id, kind, finish)
        values (p_task.user_id, p_task.kind, 0)
        on conflict (user_id, kind) do nothing;
    end loop;
    -- One submit of a user after the other, so that each sees the backlog of the one before.
    perform 1 from public.users_profile as profile where profile.id = p_task.user_id for no key update;
    return greatest(
        segmentation.virtual_time(p_task.kind),
        claimed,
        segmentation.backlog_end(p_task.user_id, p_task.kind, p_tier)
    ) - p_tier.head_start * 1000::bigint;
end;
$$;
comment on function segmentation.next_virtual_start is
'Virtual start of a user''s new task: behind what was claimed and what waits, less the tier''s head start.';
revoke execute on function segmentation.next_virtual_start from public;
