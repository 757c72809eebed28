-- What happens to every new task, whether it came by submit_task or by a bare insert.

create function segmentation.refuse_bad_request(p_task public.segmentation_results)
returns void
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
    problem text := segmentation.prompts_problem(p_task.prompts);
begin
    case problem
        when 'invalid_request' then
            perform segmentation.refuse(400, 'invalid_request', 'prompts must be an array of 1 to 16 prompts.');
        when 'prompt_empty' then
            perform segmentation.refuse(422, 'prompt_empty', 'A prompt needs a text or at least one box.');
        when 'prompt_too_long' then
            perform segmentation.refuse(422, 'prompt_too_long', 'A text prompt may have at most 400 characters.');
        else null;
    end case;
    if not segmentation.are_options(p_task.options) then
        perform segmentation.refuse(400, 'invalid_request', 'options does not fit SegmentOptions.');
    end if;
    if char_length(p_task.idempotency_key) not between 1 and 255 then
        perform segmentation.refuse(400, 'invalid_request', 'idempotency_key must have 1 to 255 characters.');
    end if;
    if not coalesce(
        p_task.source_image_url ~ ('^uploads/' || p_task.user_id || '/[^/[:cntrl:]]+$')
        and strpos(p_task.source_image_url, '..') = 0
        and char_length(p_task.source_image_url) <= 512,
        false
    ) then
        perform segmentation.refuse(404, 'source_not_found', 'source_image_url is no upload of yours.');
    end if;
    if p_task.project_id is not null and not exists (
        select 1 from public.projects
        where projects.id = p_task.project_id and projects.user_id = p_task.user_id
    ) then
        perform segmentation.refuse(404, 'not_found', 'No project of yours has that id.');
    end if;
end;
$$;
comment on function segmentation.refuse_bad_request is 'Refuse a new task that no worker could do, with its ErrorCode.';
revoke execute on function segmentation.refuse_bad_request from public;

create function segmentation.prepare_task()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    -- No side effects here: `on conflict` runs this also for a row that is then not inserted.
    new.user_id := auth.uid();
    if new.user_id is null then
        perform segmentation.refuse(401, 'unauthenticated', 'Only a signed-in user submits tasks.');
    end if;
    new.options := coalesce(new.options, '{}');
    new.prompts := coalesce(new.prompts, '[]');
    if new.prompts = '[]' and new.text_prompt is not null then
        new.prompts := jsonb_build_array(jsonb_build_object('id', 'p0', 'text', new.text_prompt));
    end if;
    perform segmentation.refuse_bad_request(new);
    new.status := 'pending';
    new.progress := 0;
    new.attempt_count := 0;
    new.cost := jsonb_array_length(new.prompts);
    new.created_at := now();
    new.run_after := now();
    return new;
end;
$$;
comment on function segmentation.prepare_task is 'Trigger: check a new task and set all that its sender may not.';
revoke execute on function segmentation.prepare_task from public;

create trigger segmentation_results_a_prepare
before insert on public.segmentation_results
for each row execute function segmentation.prepare_task();

create function segmentation.hold_for_new_task()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    perform segmentation.hold_credits(new);
    return null;
end;
$$;
comment on function segmentation.hold_for_new_task is 'Trigger: set the cost of a new task aside.';
revoke execute on function segmentation.hold_for_new_task from public;

create trigger segmentation_results_b_hold_credits
after insert on public.segmentation_results
for each row execute function segmentation.hold_for_new_task();
