-- What is deleted in the database is deleted in the object store: an outbox row is written in the
-- same transaction, and the janitor works it off. Repeating a deletion does no harm.

create table segmentation.object_deletions (
    id bigint generated always as identity primary key,
    prefix text not null,
    created_at timestamptz not null default now(),
    due_at timestamptz not null default now(),
    done_at timestamptz,

    -- A whole folder of one user's, never more.
    constraint object_deletions_prefix_is_a_folder check (
        prefix ~ '^(uploads|results)/[0-9a-f-]{36}/([0-9a-f-]{36}/)?$'
    )
);
comment on table segmentation.object_deletions is 'Outbox: folders of the bucket to delete.';
comment on column segmentation.object_deletions.due_at is 'A janitor may take it from then on; moved on when one does.';
comment on column segmentation.object_deletions.done_at is 'Kept for a week after that, for an operator who asks.';

-- Read by take_object_deletions.
create index object_deletions_due on segmentation.object_deletions (due_at)
where done_at is null;
-- Read by prune_results.
create index object_deletions_done on segmentation.object_deletions (done_at)
where done_at is not null;

alter table segmentation.object_deletions enable row level security;
create policy "Nobody reads object deletions but functions" on segmentation.object_deletions
for select to authenticated
using (false);

create function segmentation.delete_objects(p_folder text, p_last_write timestamptz)
returns void
language sql
security invoker
set search_path = ''
as $$
    insert into segmentation.object_deletions (prefix, due_at)
    select p_folder, due.at
    from (values (now()), (p_last_write + interval '1 minute')) as due (at)
    -- Once more when no attempt can write there any longer.
    where due.at >= now();
$$;
comment on function segmentation.delete_objects is
'Have a folder deleted now, and again after the last deadline of the attempts that write there.';
revoke execute on function segmentation.delete_objects from public;

create function segmentation.delete_objects_of_result()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    -- Of a user who is being deleted, the whole folders go (delete_objects_of_user).
    if exists (select 1 from public.users_profile as profile where profile.id = old.user_id) then
        perform segmentation.delete_objects(
            format('results/%s/%s/', old.user_id, old.id),
            (select max(deadline_at) from segmentation.attempts where attempts.result_id = old.id)
        );
    end if;
    return old;
end;
$$;
comment on function segmentation.delete_objects_of_result is 'Trigger: the objects of a deleted task go too.';
revoke execute on function segmentation.delete_objects_of_result from public;

-- Before the deletion, because it reads the attempts of the task.
create trigger segmentation_results_e_delete_objects
before delete on public.segmentation_results
for each row execute function segmentation.delete_objects_of_result();

create function segmentation.delete_objects_of_user()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
    last_write timestamptz := (
        select max(attempts.deadline_at)
        from public.segmentation_results as results
        inner join segmentation.attempts on results.id = attempts.result_id
        where results.user_id = old.id
    );
begin
    perform segmentation.delete_objects(format('results/%s/', old.id), last_write);
    -- A signed upload URL, or a request under way, may still write for a while.
    perform segmentation.delete_objects(format('uploads/%s/', old.id), now() + interval '1 hour');
    return old;
end;
$$;
comment on function segmentation.delete_objects_of_user is 'Trigger: everything of a deleted user goes.';
revoke execute on function segmentation.delete_objects_of_user from public;

create trigger users_profile_delete_objects
before delete on public.users_profile
for each row execute function segmentation.delete_objects_of_user();

create function segmentation.take_object_deletions(p_limit integer, p_lease_seconds integer)
returns table (id bigint, prefix text)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
begin
    perform segmentation.require_operator();
    if not coalesce(p_limit between 1 and 1000 and p_lease_seconds between 1 and 86400, false) then
        perform segmentation.refuse(400, 'invalid_request', 'Limit 1 to 1000; lease 1 to 86400 seconds.');
    end if;
    return query
    update segmentation.object_deletions as deletion
    set due_at = now() + make_interval(secs => p_lease_seconds)
    where deletion.id in (
        select due.id from segmentation.object_deletions as due
        where due.done_at is null and due.due_at <= now()
        order by due.due_at
        limit p_limit
        for update skip locked
    )
    returning deletion.id, deletion.prefix;
end;
$$;
comment on function segmentation.take_object_deletions is 'See public.take_object_deletions.';
revoke execute on function segmentation.take_object_deletions from public;
grant execute on function segmentation.take_object_deletions to service_role;

create function public.take_object_deletions(p_limit integer default 100, p_lease_seconds integer default 60)
returns table (id bigint, prefix text)
language sql
security invoker
set search_path = ''
as $$
    select * from segmentation.take_object_deletions(p_limit, p_lease_seconds);
$$;
comment on function public.take_object_deletions is
'The janitor: folders to delete. What is not finished within the lease comes again.';
revoke execute on function public.take_object_deletions from public, anon, authenticated, service_role;
grant execute on function public.take_object_deletions to service_role;

create function segmentation.finish_object_deletion(p_id bigint)
returns text
language plpgsql
security definer
set search_path = ''
as $$
begin
    perform segmentation.require_operator();
    update segmentation.object_deletions set done_at = now() where id = p_id and done_at is null;
    if found then
        return 'ok';
    end if;
    if not exists (select 1 from segmentation.object_deletions where id = p_id) then
        perform segmentation.refuse(404, 'not_found', 'No object deletion has that id.');
    end if;
    return 'duplicate';
end;
$$;
comment on function segmentation.finish_object_deletion is 'See public.finish_object_deletion.';
revoke execute on function segmentation.finish_object_deletion from public;
grant execute on function segmentation.finish_object_deletion to service_role;

create function public.finish_object_deletion(p_id bigint)
returns text
language sql
security invoker
set search_path = ''
as $$
    select segmentation.finish_object_deletion(p_id);
$$;
comment on function public.finish_object_deletion is 'The janitor: that folder is empty: ok or duplicate.';
revoke execute on function public.finish_object_deletion from public, anon, authenticated, service_role;
grant execute on function public.finish_object_deletion to service_role;
