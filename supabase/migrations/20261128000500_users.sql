-- Who uses the service, and what they may still spend.

create type public.user_tier as enum (
    'free', -- signed up
    'pro', -- pays
    'internal' -- ours: tests, canaries, machines
);
comment on type public.user_tier is 'What a user has signed up for.';

create table public.users_profile (
    id uuid primary key,
    tier public.user_tier not null default 'free',
    credits integer not null default 0,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),

    -- A user is cheap to delete: everything of theirs hangs on this row.
    constraint users_profile_is_an_auth_user foreign key (id) references auth.users (id) on delete cascade,
    constraint users_profile_credits_not_negative check (credits >= 0)
);
comment on table public.users_profile is 'One row for each Auth user. Only functions change it.';
comment on column public.users_profile.credits is 'Free to spend; credits on hold are not in it.';

create trigger users_profile_touch_updated_at
before update on public.users_profile
for each row execute function segmentation.touch_updated_at();

alter table public.users_profile enable row level security;
revoke all on public.users_profile from anon, authenticated, service_role;
grant select on public.users_profile to authenticated, service_role;
create policy "Users read their own profile" on public.users_profile
for select to authenticated
using ((select auth.uid()) = id);
