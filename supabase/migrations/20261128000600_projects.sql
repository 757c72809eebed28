-- Folders that users keep their results in.

create table public.projects (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null default auth.uid(),
    name text not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),

    constraint projects_owner_has_a_profile
    foreign key (user_id) references public.users_profile (id) on delete cascade,
    constraint projects_name_length check (char_length(name) between 1 and 120),
    -- Lets a result prove that its project has the same owner.
    constraint projects_id_and_user_unique unique (id, user_id)
);
comment on table public.projects is 'A folder for results, kept by its owner.';
comment on column public.projects.user_id is 'The owner; never changes.';

-- Read by GET /api/v1/projects (newest first), and by the cascade from users_profile.
create index projects_by_user on public.projects (user_id, created_at desc, id desc);

create trigger projects_touch_updated_at
before update on public.projects
for each row execute function segmentation.touch_updated_at();

alter table public.projects enable row level security;
revoke all on public.projects from anon, authenticated, service_role;
grant select, delete on public.projects to authenticated;
grant insert (user_id, name), update (name) on public.projects to authenticated;
grant select on public.projects to service_role;
create policy "Users read their own projects" on public.projects
for select to authenticated
using ((select auth.uid()) = user_id);
create policy "Users create projects of their own" on public.projects
for insert to authenticated
with check ((select auth.uid()) = user_id);
create policy "Users rename their own projects" on public.projects
for update to authenticated
using ((select auth.uid()) = user_id)
with check ((select auth.uid()) = user_id);
create policy "Users delete their own projects" on public.projects
for delete to authenticated
using ((select auth.uid()) = user_id);
