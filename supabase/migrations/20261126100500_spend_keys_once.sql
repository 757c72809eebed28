-- An idempotency key is asked for by one submit at a time.
--
-- A submit looked once whether a key was spent, and then for its row: a deletion in between let the
-- same work be queued and charged anew. Now the row comes first, and whoever asks for a key waits
-- for the one who asked before, so that nobody acts on what was so before that one's commit.

create or replace function segmentation.submit_task(
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
