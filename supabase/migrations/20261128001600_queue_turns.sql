-- A turn is there while its user has pending tasks in its lane, and knows how many.

create function segmentation.stand_in_line()
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

create function segmentation.leave_line()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    update segmentation.turns set waiting = turns.waiting - 1
    where turns.lane_id = new.lane_id and turns.user_id = new.user_id and turns.waiting > 0;
    -- The turn is locked now. Whoever joins the line waits for us, and then makes a new one.
    delete from segmentation.turns
    where
        turns.lane_id = new.lane_id and turns.user_id = new.user_id and turns.waiting = 0
        -- The rows decide: a task without a turn would never be claimed.
        and not exists (
            select 1 from public.segmentation_results as results
            where results.user_id = new.user_id and results.lane_id = new.lane_id and results.status = 'pending'
        );
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

create function segmentation.lanes_in_use()
returns setof segmentation.lanes
language sql
stable
security invoker
set search_path = ''
as $$
    -- From one lane to the next through the index: there are few, of many turns.
    with recursive used (lane_id) as (
        select min(turns.lane_id) from segmentation.turns
        union all
        select (select min(turns.lane_id) from segmentation.turns where turns.lane_id > used.lane_id)
        from used
        where used.lane_id is not null
    )
    select lanes.* from used inner join segmentation.lanes on used.lane_id = lanes.id;
$$;
comment on function segmentation.lanes_in_use is 'The lanes that somebody waits in.';
revoke execute on function segmentation.lanes_in_use from public;
