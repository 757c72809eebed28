-- Submit a task once per idempotency key, also when the task of that key was deleted meanwhile.
--
-- One submit at a time asks for a key. The row is looked for before the spent key, so that nobody acts
-- on what was so before the other's commit.

create table segmentation.spent_keys (
    user_id uuid not null,
    idempotency_key text not null,
    spent_until timestamptz not null,

    constraint spent_keys_pkey primary key (user_id, idempotency_key),
    constraint spent_keys_user_has_a_profile
    foreign key (user_id) references public.users_profile (id) on delete cascade
);
comment on table segmentation.spent_keys is
'Idempotency keys of deleted tasks: a late retry must not queue and charge the same work again.';
comment on column segmentation.spent_keys.spent_until is '24 hours after the task was submitted.';

-- Read by prune_results.
create index spent_keys_by_end on segmentation.spent_keys (spent_until);

alter table segmentation.spent_keys enable row level security;
create policy "Nobody reads spent keys but functions" on segmentation.spent_keys
for select to authenticated
using (false);

create function segmentation.keep_key()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    -- A task that goes with its user leaves nothing behind.
    insert into segmentation.spent_keys (user_id, idempotency_key, spent_until)
    select profile.id, old.idempotency_key, old.created_at + interval '24 hours'
    from public.users_profile as profile
    where profile.id = old.user_id
    on conflict (user_id, idempotency_key) do update set spent_until = excluded.spent_until;
    return null;
end;
$$;
comment on function segmentation.keep_key is 'Trigger: a deleted task''s key stays used for the rest of its day.';
revoke execute on function segmentation.keep_key from public;

create trigger segmentation_results_e_keep_key
after delete on public.segmentation_results
for each row
when (old.idempotency_key is not null and old.created_at > now() - interval '24 hours')
execute function segmentation.keep_key();

create function segmentation.submit_task(
    p_source_image_url text,
    p_prompts jsonb,
    p_options jsonb,
    p_text_prompt text,
    p_project_id uuid,
    p_idempotency_key text,
    p_request_hash text,
    p_deadline_seconds integer,
    p_needs jsonb
)
returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
declare
    task public.segmentation_results;
    -- Whoever sends no hash gets one of what was sent, so that a key never hides another request.
    hash text := coalesce(p_request_hash, encode(sha256(convert_to(jsonb_build_array(
        p_source_image_url, p_prompts, p_options, p_text_prompt, p_project_id, p_deadline_seconds, p_needs
    )::text, 'UTF8')), 'hex'));
begin
    if p_idempotency_key is not null then
        -- Before any row is locked. Two keys of one number only wait for each other.
        perform pg_advisory_xact_lock(hashtextextended(auth.uid() || ' ' || p_idempotency_key, 0));
    end if;
    loop
        select * into task
        from public.segmentation_results as results
        where results.user_id = auth.uid() and results.idempotency_key = p_idempotency_key;
        if found then
            if task.request_hash is distinct from hash then
                perform segmentation.refuse(
                    422, 'idempotency_conflict', 'That idempotency key was used with another request.'
                );
            end if;
            return jsonb_build_object('task', to_jsonb(task), 'replayed', true);
        end if;
        -- Only now: a row that is gone left its key here in the transaction that deleted it.
        if exists (
            select 1 from segmentation.spent_keys as spent
            where
                spent.user_id = auth.uid()
                and spent.idempotency_key = p_idempotency_key
                and spent.spent_until > now()
        ) then
            perform segmentation.refuse(
                422, 'idempotency_conflict', 'The task of that idempotency key was deleted. Use a new key.'
            );
        end if;

        -- A bare insert with the same key is waited for; then the loop finds its row, or tries
        -- again if that one was refused.
        insert into public.segmentation_results (
            project_id, source_image_url, text_prompt, prompts, options, idempotency_key, request_hash,
            deadline_seconds, needs
        )
        values (
            p_project_id, p_source_image_url, p_text_prompt, p_prompts, p_options, p_idempotency_key, hash,
            p_deadline_seconds, p_needs
        )
        on conflict (user_id, idempotency_key) where idempotency_key is not null do nothing
        returning * into task;
        if found then
            return jsonb_build_object('task', to_jsonb(task), 'replayed', false);
        end if;
    end loop;
end;
$$;
comment on function segmentation.submit_task is 'See public.submit_task.';
revoke execute on function segmentation.submit_task from public;
grant execute on function segmentation.submit_task to authenticated;

create function public.submit_task(
    p_source_image_url text,
    p_prompts jsonb default '[]',
    p_options jsonb default '{}',
    p_text_prompt text default null,
    p_project_id uuid default null,
    p_idempotency_key text default null,
    p_request_hash text default null,
    p_deadline_seconds integer default null,
    p_needs jsonb default '{}'
)
returns jsonb
language sql
security invoker
set search_path = ''
as $$
    select segmentation.submit_task(
        p_source_image_url, p_prompts, p_options, p_text_prompt, p_project_id, p_idempotency_key, p_request_hash,
        p_deadline_seconds, p_needs
    );
$$;
comment on function public.submit_task is
'Queue one picture with 1-16 prompts: {"task": row, "replayed": bool}. Same key and request: the same row.';
revoke execute on function public.submit_task from public, anon, authenticated, service_role;
grant execute on function public.submit_task to authenticated;
