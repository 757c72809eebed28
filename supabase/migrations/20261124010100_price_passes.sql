-- The price of a task: prompts times passes. In tiles, the model looks at the picture many times.

create function segmentation.passes(p_options jsonb)
returns integer
language sql
immutable
security invoker
set search_path = ''
as $$
    -- Each tile, and the whole for what is larger than a tile.
    select case when tiled.tiles = 1 then 1 else tiled.tiles * tiled.tiles + 1 end
    -- Through numeric, for 2.0 is a whole number too.
    from (select coalesce((p_options ->> 'tiles')::numeric::integer, 1) as tiles) as tiled;
$$;
comment on function segmentation.passes is 'contracts.prompts.SegmentOptions.passes, of options that are sound.';
revoke execute on function segmentation.passes from public;

comment on column public.segmentation_results.cost is 'Prompts x passes: credits held, then captured or released.';

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
    new.cost := jsonb_array_length(new.prompts) * segmentation.passes(new.options);
    new.created_at := now();
    new.run_after := now();
    new.expires_at := now() + make_interval(secs => new.deadline_seconds);
    new.lane_id := lane.id;
    new.place := segmentation.take_place(new, tier);
    new.blocked_by := case when segmentation.is_blocked(lane) then 'no_capable_worker' end;
    return new;
end;
$$;
