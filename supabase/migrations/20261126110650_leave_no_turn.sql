-- Whoever cancels the last task of a line leaves no turn, and so no lane in use: only claims took
-- turns away, and into a lane for machines that nobody has no claim ever looks.

create or replace function segmentation.leave_line()
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
