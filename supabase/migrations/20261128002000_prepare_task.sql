-- What happens to every new task, whether it came by submit_task or by a bare insert.

create function segmentation.are_needs(p_needs jsonb)
returns boolean
language sql
immutable
security invoker
set search_path = ''
as $$
    select coalesce(jsonb_path_match(p_needs, '
        $.type() == "object"
        && !exists($.keyvalue() ? (
            @.key != "model_revision" && @.key != "dtype" && @.key != "memory_mb" && @.key != "pixels"
        ))
        && (
            !exists($.model_revision)
            || $.model_revision.type() == "null" || $.model_revision.type() == "string"
        )
        && (!exists($.dtype) || $.dtype.type() == "null" || (
            $.dtype.type() == "string" && ($.dtype == "fp32" || $.dtype == "bf16" || $.dtype == "fp16")
        ))
        && (!exists($.memory_mb) || $.memory_mb.type() == "null" || (
            $.memory_mb.type() == "number" && $.memory_mb >= 0 && $.memory_mb <= 1048576
            && $.memory_mb.floor() == $.memory_mb
        ))
        && (!exists($.pixels) || $.pixels.type() == "null" || (
            $.pixels.type() == "number" && $.pixels >= 0 && $.pixels < 2147483648
            && $.pixels.floor() == $.pixels
        ))
    ', silent => true), false)
    and coalesce(char_length(p_needs ->> 'model_revision') <= 200, true);
$$;
comment on function segmentation.are_needs is 'May a task ask that of a machine?';
revoke execute on function segmentation.are_needs from public;

create function segmentation.passes(p_options jsonb)
returns integer
language sql
immutable
security invoker
set search_path = ''
as $$
    -- Each tile, and the whole picture for objects that are larger than a tile.
    select case when tiled.tiles = 1 then 1 else tiled.tiles * tiled.tiles + 1 end
    -- Through numeric, because 2.0 is a whole number too.
    from (select coalesce((p_options ->> 'tiles')::numeric::integer, 1) as tiles) as tiled;
$$;
comment on function segmentation.passes is 'contracts.prompts.SegmentOptions.passes, of options that are sound.';
revoke execute on function segmentation.passes from public;

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

create function segmentation.refuse_full_queue(p_user_id uuid, p_tier segmentation.tiers)
returns void
language plpgsql
security invoker
set search_path = ''
as $$
declare
    waiting bigint;
begin
    if p_tier.max_waiting is null then
        return;
    end if;
    select sum(queue.waiting) into waiting from segmentation.user_queues as queue where queue.user_id = p_user_id;
    if waiting >= p_tier.max_waiting then
        perform segmentation.refuse(429, 'rate_limited', format('%s of your tasks are waiting already.', waiting));
    end if;
end;
$$;
comment on function segmentation.refuse_full_queue is 'Refuse with PT429 a user who has too many pending tasks.';
revoke execute on function segmentation.refuse_full_queue from public;

create function segmentation.prepare_task()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
    tier segmentation.tiers;
    class segmentation.queue_classes;
begin
    new.user_id := auth.uid();
    if new.user_id is null then
        perform segmentation.refuse(401, 'unauthenticated', 'Only a signed-in user submits tasks.');
    end if;
    new.options := coalesce(new.options, '{}');
    new.needs := coalesce(new.needs, '{}');
    new.prompts := coalesce(new.prompts, '[]');
    if new.prompts = '[]' and new.text_prompt is not null then
        new.prompts := jsonb_build_array(jsonb_build_object('id', 'p0', 'text', new.text_prompt));
    end if;
    perform segmentation.refuse_bad_request(new);
    if not segmentation.are_needs(new.needs) then
        perform segmentation.refuse(400, 'invalid_request', 'needs takes model_revision, dtype, memory_mb and pixels.');
    end if;
    if new.deadline_seconds not between 1 and 604800 then
        perform segmentation.refuse(400, 'invalid_request', 'deadline_seconds lies between 1 and 604800.');
    end if;
    tier := segmentation.tier_of(new.user_id);
    perform segmentation.refuse_full_queue(new.user_id, tier);
    class := segmentation.queue_class_of_needs(new.kind, new.needs);
    new.status := 'pending';
    new.progress := 0;
    new.attempt_count := 0;
    new.computed := 0;
    new.cost := jsonb_array_length(new.prompts) * segmentation.passes(new.options);
    new.created_at := now();
    new.run_after := now();
    new.expires_at := now() + make_interval(secs => new.deadline_seconds);
    new.queue_class_id := class.id;
    new.virtual_start := segmentation.next_virtual_start(new, tier);
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
