-- claim_tasks again: it asks of the lanes that somebody waits in whether the worker can do them.

create or replace function segmentation.claim_tasks(
    p_worker text,
    p_limit integer,
    p_lease_seconds integer,
    p_deadline_seconds integer,
    p_capabilities jsonb
)
returns table (
    id uuid,
    token bigint,
    lead_token bigint,
    user_id uuid,
    source_image_url text,
    kind text,
    prompts jsonb,
    options jsonb,
    attempt_count smallint,
    lease_expires_at timestamptz,
    deadline_at timestamptz,
    created_at timestamptz
)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
    machine segmentation.machines;
    abilities jsonb;
    lanes integer[];
    picked uuid[];
begin
    perform segmentation.require_worker();
    perform segmentation.refuse_bad_claim(p_worker, p_limit, p_lease_seconds, p_deadline_seconds, p_capabilities);
    -- Null for the service role: it is no machine.
    select * into machine from segmentation.machines where machines.id = auth.uid();
    update segmentation.machines set last_seen_at = now()
    where machines.id = machine.id and coalesce(last_seen_at, '-infinity') < now() - interval '10 seconds';
    abilities := p_capabilities || coalesce(machine.capabilities, '{}');
    perform segmentation.note_worker(p_worker, machine.id, abilities);

    lanes := array(
        select lane.id from segmentation.lanes_in_use() as lane where segmentation.can_do(abilities, lane)
    );
    -- Most looks find nothing, and need not stand in a line for it.
    if lanes = '{}' then
        return;
    end if;
    perform pg_advisory_xact_lock('segmentation.turns'::regclass::oid::integer, 0);
    picked := segmentation.pick_tasks(lanes, p_limit);

    return query
    with numbered_task as materialized (
        select ordered_task.*, nextval('segmentation.tokens') as token
        from (
            select * from public.segmentation_results as task
            where task.id = any(picked)
            order by task.place, task.id
        ) as ordered_task
    ),
    opened_attempt as (
        insert into segmentation.attempts as attempt (
            token, lead_token, result_id, user_id, machine_id, worker, memory_mb, lease_expires_at, deadline_at
        )
        select
            numbered_task.token,
            min(numbered_task.token) over (partition by numbered_task.source_image_url, numbered_task.lane_id),
            numbered_task.id,
            numbered_task.user_id,
            machine.id,
            p_worker,
            (abilities ->> 'memory_mb')::numeric::integer,
            now() + make_interval(secs => p_lease_seconds),
            now() + make_interval(secs => p_deadline_seconds)
        from numbered_task
        returning attempt.token, attempt.lead_token, attempt.lease_expires_at, attempt.deadline_at
    )
    select
        numbered_task.id,
        opened_attempt.token,
        opened_attempt.lead_token,
        numbered_task.user_id,
        numbered_task.source_image_url,
        numbered_task.kind,
        numbered_task.prompts,
        numbered_task.options,
        numbered_task.attempt_count,
        opened_attempt.lease_expires_at,
        opened_attempt.deadline_at,
        numbered_task.created_at
    from numbered_task
    inner join opened_attempt on numbered_task.token = opened_attempt.token
    order by numbered_task.place, numbered_task.id;
end;
$$;
