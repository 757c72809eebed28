-- Deleting a user keeps the lock order (reap_in_lock_order): fair clock, tasks, profile, turns.
--
-- The cascade alone goes from the profile to the tasks, against every completion, which holds its
-- task and wants the profile. Whoever was second died of the deadlock, and with it a paid result.

create function segmentation.lock_before_leaving()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    -- From here on nothing new is submitted.
    perform 1 from segmentation.fair_clocks as clock
    where clock.user_id = old.id
    order by clock.kind
    for update;
    perform 1 from public.segmentation_results as results
    where results.user_id = old.id
    order by results.id
    for update;
    return old;
end;
$$;
comment on function segmentation.lock_before_leaving is
'Trigger on auth.users: let transitions of a user''s tasks end before the cascade takes the profile.';
revoke execute on function segmentation.lock_before_leaving from public;

-- On auth.users, for a trigger on the profile would come too late: its row is locked by then.
create trigger segmentation_locks_before_leaving
before delete on auth.users
for each row execute function segmentation.lock_before_leaving();
