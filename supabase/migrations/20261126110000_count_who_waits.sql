-- How many tasks of a user wait is kept beside their turn. Counting them at each submit cost the
-- more, the more waited: 33 ms at a hundred thousand.
--
-- The turn's row is locked at each of these steps anyway, so nobody waits for anybody anew.

alter table segmentation.turns
add column waiting integer not null default 0;
comment on column segmentation.turns.waiting is 'Pending tasks of that user in that lane.';

update segmentation.turns
set waiting = (
    select count(*) from public.segmentation_results as results
    where results.user_id = turns.user_id and results.lane_id = turns.lane_id and results.status = 'pending'
);

create or replace function segmentation.stand_in_line()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    -- The row is locked even where its place stays as it is. So a claim that removes a turn, because
    -- it sees nobody in line, and we who join it cannot miss each other.
    insert into segmentation.turns as turn (lane_id, user_id, place, waiting)
    values (new.lane_id, new.user_id, new.place, 1)
    on conflict (lane_id, user_id) do update
    set place = least(turn.place, excluded.place), waiting = turn.waiting + 1;
    return null;
end;
$$;

create function segmentation.leave_line()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    update segmentation.turns set waiting = turns.waiting - 1
    where turns.lane_id = new.lane_id and turns.user_id = new.user_id and turns.waiting > 0;
    return null;
end;
$$;
comment on function segmentation.leave_line is
'Trigger: who is cancelled or expires waits no longer. Claims count for themselves.';
revoke execute on function segmentation.leave_line from public;

-- At the commit: a submit locks the profile first and then the turn, and a cancel must not hold the
-- turn while it waits for the profile.
create constraint trigger segmentation_results_b_leave_line
after update on public.segmentation_results
deferrable initially deferred
for each row
when (old.status = 'pending' and new.finished_at is not null)
execute function segmentation.leave_line();

create or replace function segmentation.refuse_crowd(p_user_id uuid, p_tier segmentation.tiers)
returns void
language plpgsql
security invoker
set search_path = ''
as $$
declare
    waiting bigint;
begin
    if p_tier.max_waiting is null then
        return;
    end if;
    select sum(turns.waiting) into waiting from segmentation.turns where turns.user_id = p_user_id;
    if waiting >= p_tier.max_waiting then
        perform segmentation.refuse(429, 'rate_limited', format('%s of your tasks are waiting already.', waiting));
    end if;
end;
$$;
