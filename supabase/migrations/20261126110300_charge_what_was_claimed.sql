-- A user's clock is what was claimed for them; their next place comes behind that and behind what
-- still waits. It was the sum of all they ever submitted: who cancelled three hundred tasks, or let
-- them expire, then waited behind three hundred of another.

comment on table segmentation.fair_clocks is 'What was claimed for a user: their next task starts no earlier.';
comment on column segmentation.fair_clocks.finish is
'Where their claimed tasks end, in virtual time: a credit is 1000, divided by the tier''s weight. Only claims move it.';

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

create or replace function segmentation.take_place(p_task public.segmentation_results, p_tier segmentation.tiers)
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
