-- What waits for a picture is looked for among what waits. Among all tasks it took 50 ms where a
-- user had had the picture done a hundred thousand times, and claims take turns.

-- Read by with_companions. Of the key only a hash, for keys are long; place and id, for the order.
create index segmentation_results_on_picture on public.segmentation_results (
    user_id, lane_id, hashtextextended(source_image_url, 0), place, id
)
where status = 'pending';

create or replace function segmentation.with_companions(p_ids uuid[])
returns uuid[]
language sql
volatile
security invoker
set search_path = ''
as $$
    select p_ids || coalesce(array_agg(companion.id), '{}')
    from (
        select picked.source_image_url, picked.user_id, picked.lane_id, count(*) as tasks
        from public.segmentation_results as picked
        where picked.id = any(p_ids)
        group by picked.source_image_url, picked.user_id, picked.lane_id
    ) as picture
    cross join lateral (
        select results.id
        from public.segmentation_results as results
        where
            hashtextextended(results.source_image_url, 0) = hashtextextended(picture.source_image_url, 0)
            -- The key itself, for hashes may agree. Said so that no index on it can be used.
            and results.source_image_url is not distinct from picture.source_image_url
            and results.user_id = picture.user_id and results.lane_id = picture.lane_id
            and results.status = 'pending' and results.id <> all(p_ids)
            and results.run_after <= now()
            and (results.started_at is not null or coalesce(results.expires_at > now(), true))
        order by results.place, results.id
        limit greatest(0, 16 - picture.tasks)
        for update skip locked
    ) as companion;
$$;
