-- Submit a task, once per idempotency key.
--
-- The row of the key is also the lock: a second submit of the same key waits until the first one
-- commits, and then answers its task. A key outlives its task, so that a late retry of work that was
-- deleted meanwhile is not queued and charged again.

create table segmentation.idempotency_keys (
    user_id uuid not null,
    key text not null,
    request_hash text not null,
    task_id uuid not null,
    expires_at timestamptz not null default now() + interval '24 hours',

    -- No foreign keys: a key outlives its task, and a check of the profile would lock it too early
    -- (see reap_tasks). lock_before_deletion deletes the keys of a user.
    constraint idempotency_keys_pkey primary key (user_id, key),
    constraint idempotency_keys_key_length check (char_length(key) between 1 and 255)
);
comment on table segmentation.idempotency_keys is 'Which task each idempotency key of a user stands for.';
comment on column segmentation.idempotency_keys.request_hash is 'What was asked; another hash is a conflict.';
comment on column segmentation.idempotency_keys.expires_at is 'From then on the key is free again.';

-- Read by prune_results.
create index idempotency_keys_by_end on segmentation.idempotency_keys (expires_at);

alter table segmentation.idempotency_keys enable row level security;
create policy "Nobody reads idempotency keys but functions" on segmentation.idempotency_keys
for select to authenticated
using (false);

create function segmentation.task_of_key(p_key text, p_request_hash text)
returns public.segmentation_results
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
    known segmentation.idempotency_keys;
    task public.segmentation_results;
begin
    select * into known from segmentation.idempotency_keys as keys
    where keys.user_id = auth.uid() and keys.key = p_key;
    if known.request_hash is distinct from p_request_hash then
        perform segmentation.refuse(
            422, 'idempotency_conflict', 'That idempotency key was used with another request.'
        );
    end if;
    select * into task from public.segmentation_results as results where results.id = known.task_id;
    if not found then
        perform segmentation.refuse(
            422, 'idempotency_conflict', 'The task of that idempotency key was deleted. Use a new key.'
        );
    end if;
    return task;
end;
$$;
comment on function segmentation.task_of_key is 'The task that a used key stands for, or a refusal with PT422.';
revoke execute on function segmentation.task_of_key from public;

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
    new_id uuid := gen_random_uuid();
    -- Without a hash of the caller's, one of all arguments: a key never hides another request.
    hash text := coalesce(p_request_hash, encode(sha256(convert_to(jsonb_build_array(
        p_source_image_url, p_prompts, p_options, p_text_prompt, p_project_id, p_deadline_seconds, p_needs
    )::text, 'UTF8')), 'hex'));
begin
    if char_length(p_idempotency_key) not between 1 and 255 then
        perform segmentation.refuse(400, 'invalid_request', 'idempotency_key must have 1 to 255 characters.');
    end if;
    if p_idempotency_key is not null and auth.uid() is not null then
        insert into segmentation.idempotency_keys as known (user_id, key, request_hash, task_id)
        values (auth.uid(), p_idempotency_key, hash, new_id)
        on conflict (user_id, key) do update
        set request_hash = excluded.request_hash, task_id = excluded.task_id, expires_at = excluded.expires_at
        where known.expires_at <= now();
        if not found then
            task := segmentation.task_of_key(p_idempotency_key, hash);
            return jsonb_build_object('task', to_jsonb(task), 'replayed', true);
        end if;
    end if;
    insert into public.segmentation_results (
        id, project_id, source_image_url, text_prompt, prompts, options, deadline_seconds, needs
    )
    values (
        new_id, p_project_id, p_source_image_url, p_text_prompt, p_prompts, p_options, p_deadline_seconds, p_needs
    )
    returning * into task;
    return jsonb_build_object('task', to_jsonb(task), 'replayed', false);
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
