-- Whoever signs up gets a profile and credits to try the service with.

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
comment on function segmentation.welcome_new_user is 'Trigger on auth.users: welcome whoever signs up.';
revoke execute on function segmentation.welcome_new_user from public;

create trigger segmentation_welcomes_new_user
after insert on auth.users
for each row execute function segmentation.welcome_new_user();
