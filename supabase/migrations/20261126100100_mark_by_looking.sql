-- blocked_by ends when somebody comes who can do the task, whoever set it and when.
--
-- mark_blocked used to follow a memory of its own (lanes.blocked), and a submit set blocked_by by a
-- fresh look; where the two disagreed, the mark stayed for ever. Now there is no memory: what counts
-- is who is online, and which rows say something else.

create or replace function segmentation.mark_blocked()
returns void
language plpgsql
security invoker
set search_path = ''
as $$
declare
    lane record;
begin
    for lane in
        select
            lanes.id,
            segmentation.is_blocked(lanes) as blocked
        from segmentation.lanes
        -- Nobody waits in most of them.
        where exists (select 1 from segmentation.turns where turns.lane_id = lanes.id)
        order by lanes.id
    loop
        -- Each by its own index condition. The rest at the next call: each changed row is a message
        -- to its owner. Who is locked is just being changed, and looked at again then.
        if lane.blocked then
            update public.segmentation_results as results
            set blocked_by = 'no_capable_worker'
            where results.id in (
                select pending.id from public.segmentation_results as pending
                where
                    pending.lane_id = lane.id and pending.status = 'pending'
                    and pending.blocked_by is null
                limit 1000
                for update skip locked
            );
        else
            update public.segmentation_results as results
            set blocked_by = null
            where results.id in (
                select pending.id from public.segmentation_results as pending
                where
                    pending.lane_id = lane.id and pending.status = 'pending'
                    and pending.blocked_by is not null
                limit 1000
                for update skip locked
            );
        end if;
    end loop;
end;
$$;

alter table segmentation.lanes
drop column blocked,
drop column unmarked;

-- Read by mark_blocked: does anybody in a lane say what is not so? And the foreign key.
drop index public.segmentation_results_by_lane;
create index segmentation_results_by_lane_and_mark on public.segmentation_results (lane_id, blocked_by)
where status = 'pending';

create function segmentation.mark_of(p_lane_id integer)
returns text
language sql
stable
security invoker
set search_path = ''
as $$
    select 'no_capable_worker' from segmentation.lanes
    where lanes.id = p_lane_id and segmentation.is_blocked(lanes);
$$;
comment on function segmentation.mark_of is 'What blocked_by of a task that waits in that lane is now.';
revoke execute on function segmentation.mark_of from public;
