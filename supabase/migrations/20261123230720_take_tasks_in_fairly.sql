-- prepare_task again, with needs, deadline, bounds of the tier, lane and place.

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
        && (!exists($.model_revision) || $.model_revision == null || $.model_revision.type() == "string")
        && (!exists($.dtype) || $.dtype == null || $.dtype == "fp32" || $.dtype == "bf16" || $.dtype == "fp16")
        && (!exists($.memory_mb) || $.memory_mb == null || (
            $.memory_mb.type() == "number" && $.memory_mb >= 0 && $.memory_mb <= 1048576
            && $.memory_mb.floor() == $.memory_mb
        ))
        && (!exists($.pixels) || $.pixels == null || (
            $.pixels.type() == "number" && $.pixels >= 0 && $.pixels < 2147483648
            && $.pixels.floor() == $.pixels
        ))
    ', silent => true), false)
    and coalesce(char_length(p_needs ->> 'model_revision') <= 200, true);
$$;
comment on function segmentation.are_needs is 'May a task ask that of a machine?';
revoke execute on function segmentation.are_needs from public;

create function segmentation.lane_of(p_kind text, p_needs jsonb)
returns segmentation.lanes
language plpgsql
security invoker
set search_path = ''
as $$
declare
    pixels integer := (p_needs ->> 'pixels')::integer;
    revision text := p_needs ->> 'model_revision';
begin
    -- Else anybody could make lanes without end.
    if revision is not null and not exists (
        select 1 from segmentation.workers where workers.capabilities ->> 'model_revision' = revision
    ) then
        perform segmentation.refuse(400, 'invalid_request', format('No machine has the model revision %L.', revision));
    end if;
    return segmentation.lane_for(
        p_kind,
        -- Down to whole GiB, for a card of 80 GB reports a little less.
        coalesce((p_needs ->> 'memory_mb')::integer, 0) / 1024 * 1024,
        -- Few classes, so that few lanes; 12 and 25 megapixels are what cameras have.
        coalesce((
            select min(class) from unnest(array[0, 1000000, 4000000, 12000000, 25000000, 50000000]) as class
            where class >= coalesce(pixels, 0)
        ), 2147483647),
        revision,
        p_needs ->> 'dtype'
    );
end;
$$;
comment on function segmentation.lane_of is 'The lane of a new task.';
revoke execute on function segmentation.lane_of from public;

create function segmentation.refuse_crowd(p_user_id uuid, p_tier segmentation.tiers)
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
    select count(*) into waiting from (
        select 1 from public.segmentation_results as results
        where results.user_id = p_user_id and results.status = 'pending'
        limit p_tier.max_waiting
    ) as line;
    if waiting >= p_tier.max_waiting then
        perform segmentation.refuse(429, 'rate_limited', format('%s of your tasks are waiting already.', waiting));
    end if;
end;
$$;
comment on function segmentation.refuse_crowd is 'Refuse with PT429 whoever has too many pending tasks.';
revoke execute on function segmentation.refuse_crowd from public;

create or replace function segmentation.prepare_task()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
    tier segmentation.tiers;
    lane segmentation.lanes;
begin
    -- `on conflict` runs this also for a row that is then not inserted. Its only side effect is
    -- then a place that nobody takes.
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
    perform segmentation.refuse_crowd(new.user_id, tier);
    lane := segmentation.lane_of(new.kind, new.needs);
    new.status := 'pending';
    new.progress := 0;
    new.attempt_count := 0;
    new.computed := 0;
    new.cost := jsonb_array_length(new.prompts);
    new.created_at := now();
    new.run_after := now();
    new.expires_at := now() + make_interval(secs => new.deadline_seconds);
    new.lane_id := lane.id;
    new.place := segmentation.take_place(new, tier);
    new.blocked_by := case when segmentation.is_blocked(lane) then 'no_capable_worker' end;
    return new;
end;
$$;
