-- A new user gets a profile and credits to try the service with. A user who leaves takes everything
-- of theirs along, in the lock order of all transactions (see reap_tasks).

create function segmentation.welcome_user(p_user_id uuid)
returns void
language plpgsql
security invoker
set search_path = ''
as $$
begin
    insert into public.users_profile (id) values (p_user_id);
    perform segmentation.add_credits(p_user_id, 100, 'sign-up');
end;
$$;
comment on function segmentation.welcome_user is 'Make the profile of a new user and grant 100 credits.';
revoke execute on function segmentation.welcome_user from public;

create function segmentation.welcome_new_user()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    perform segmentation.welcome_user(new.id);
    return null;
end;
$$;
comment on function segmentation.welcome_new_user is 'Trigger on auth.users: make the profile of a new user.';
revoke execute on function segmentation.welcome_new_user from public;

create trigger segmentation_welcomes_new_user
after insert on auth.users
for each row execute function segmentation.welcome_new_user();

-- A project may have had users before it had us.
select segmentation.welcome_user(existing.id) from auth.users as existing;

-- The cascade alone goes from the profile to the tasks, against every completion, which holds its
-- task and wants the profile. The second of the two died of the deadlock, and with it a paid result.
create function segmentation.lock_before_deletion()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    -- Before the clocks, as a submit does.
    delete from segmentation.idempotency_keys as keys where keys.user_id = old.id;
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
comment on function segmentation.lock_before_deletion is
'Trigger on auth.users: wait for transitions of the user''s tasks before the cascade locks the profile.';
revoke execute on function segmentation.lock_before_deletion from public;

-- On auth.users, because a trigger on the profile would come too late: its row is locked by then.
create trigger segmentation_locks_before_deletion
before delete on auth.users
for each row execute function segmentation.lock_before_deletion();
