-- Few lanes, and only those that somebody waits in are looked at. Anybody could make 28,700 of them
-- by submitting and cancelling, for nothing and for ever; at 5,800 a claim took 36 ms.

create function segmentation.memory_class(p_memory_mb integer)
returns integer
language sql
immutable
security invoker
set search_path = ''
as $$
    select coalesce(min(size.class), 0)
    from (
        -- What cards have, in GiB. They report less than their name says: a tenth less where ECC
        -- takes its share, else up to a sixty-fourth. So a card is found by what it reports.
        select floor(card.gib * 1024 * part.reported)::integer as class
        from unnest(array[8, 12, 16, 24, 32, 40, 48, 64, 80, 96, 141, 192, 288, 1024]) as card (gib)
        cross join unnest(array[0.9, 0.984375, 1]) as part (reported)
    ) as size
    where p_memory_mb > 0 and size.class >= p_memory_mb;
$$;
comment on function segmentation.memory_class is
'The memory a task is given a lane for: what it asks for, rounded up to what cards have; MiB. 0: whatever there is.';
revoke execute on function segmentation.memory_class from public;

create or replace function segmentation.lane_of(p_kind text, p_needs jsonb)
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
        segmentation.memory_class(coalesce((p_needs ->> 'memory_mb')::integer, 0)),
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

create or replace function segmentation.lane_for(
    p_kind text, p_memory_mb integer, p_pixels integer, p_model_revision text, p_dtype text
)
returns segmentation.lanes
language plpgsql
security invoker
set search_path = ''
as $$
declare
    lane segmentation.lanes;
begin
    loop
        select * into lane from segmentation.lanes
        where
            lanes.kind = p_kind and lanes.memory_mb = p_memory_mb and lanes.pixels = p_pixels
            and lanes.model_revision is not distinct from p_model_revision
            and lanes.dtype is not distinct from p_dtype
        -- So that it is not pruned before its first task stands in it.
        for key share;
        if found then
            return lane;
        end if;
        insert into segmentation.lanes (kind, memory_mb, pixels, model_revision, dtype)
        values (p_kind, p_memory_mb, p_pixels, p_model_revision, p_dtype)
        on conflict do nothing;
    end loop;
end;
$$;

create function segmentation.lanes_in_use()
returns setof segmentation.lanes
language sql
stable
security invoker
set search_path = ''
as $$
    -- From one lane to the next through the index: there are few, of many turns.
    with recursive used (lane_id) as (
        select min(turns.lane_id) from segmentation.turns
        union all
        select (select min(turns.lane_id) from segmentation.turns where turns.lane_id > used.lane_id)
        from used
        where used.lane_id is not null
    )
    select lanes.* from used inner join segmentation.lanes on used.lane_id = lanes.id;
$$;
comment on function segmentation.lanes_in_use is 'The lanes that somebody waits in.';
revoke execute on function segmentation.lanes_in_use from public;
