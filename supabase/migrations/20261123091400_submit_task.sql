-- submit_task: a bare insert plus the promise of the idempotency key.

create function segmentation.submit_task(
    p_source_image_url text,
    p_prompts jsonb,
    p_options jsonb,
    p_text_prompt text,
    p_project_id uuid,
    p_idempotency_key text,
    p_request_hash text
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
        p_source_image_url, p_prompts, p_options, p_text_prompt, p_project_id
    )::text, 'UTF8')), 'hex'));
begin
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

        -- A concurrent submit with the same key is waited for; then the loop finds its row, or
        -- tries again if that one was refused.
        insert into public.segmentation_results (
            project_id, source_image_url, text_prompt, prompts, options, idempotency_key, request_hash
        )
        values (
            p_project_id, p_source_image_url, p_text_prompt, p_prompts, p_options, p_idempotency_key, hash
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
    p_request_hash text default null
)
returns jsonb
language sql
security invoker
set search_path = ''
as $$
    select segmentation.submit_task(
        p_source_image_url, p_prompts, p_options, p_text_prompt, p_project_id, p_idempotency_key, p_request_hash
    );
$$;
comment on function public.submit_task is
'Queue one picture with 1-16 prompts: {"task": row, "replayed": bool}. Same key and request: the same row.';
revoke execute on function public.submit_task from public, anon, authenticated, service_role;
grant execute on function public.submit_task to authenticated;
