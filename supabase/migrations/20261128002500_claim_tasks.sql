-- Open attempts at the tasks whose turn it is.
--
-- Claims go one after the other (an advisory lock, for a millisecond or two), so that the caps hold
-- exactly and nobody is passed over because another claim looks at their row.

create function segmentation.note_worker(p_worker text, p_machine_id uuid, p_capabilities jsonb)
returns void
language plpgsql
security invoker
set search_path = ''
as $$
declare
    known segmentation.workers;
begin
    select * into known from segmentation.workers
    where workers.machine_id is not distinct from p_machine_id and workers.worker = p_worker;
    if known.capabilities = p_capabilities and known.last_seen_at > now() - interval '10 seconds' then
        return;
    end if;
    insert into segmentation.workers (machine_id, worker, capabilities)
    values (p_machine_id, p_worker, p_capabilities)
    on conflict (machine_id, worker) do update
    set capabilities = excluded.capabilities, last_seen_at = now();
end;
$$;
comment on function segmentation.note_worker is 'Take note of who is online, and of what they can do.';
revoke execute on function segmentation.note_worker from public;

create function segmentation.refuse_bad_claim(
    p_worker text, p_limit integer, p_lease_seconds integer, p_deadline_seconds integer, p_capabilities jsonb
)
returns void
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
    -- Coalesced, because `limit null` would take everything.
    if not coalesce(
        char_length(p_worker) between 1 and 200
        and p_limit between 1 and 100
        and p_lease_seconds between 1 and p_deadline_seconds
        and p_deadline_seconds <= 86400,
        false
    ) then
        perform segmentation.refuse(400, 'invalid_request', 'Worker 1 to 200 characters; limit 1 to 100; 1 <= lease <= deadline <= 86400 seconds.');
    end if;
    if not coalesce(segmentation.are_capabilities(p_capabilities), false) then
        perform segmentation.refuse(400, 'invalid_request', 'Capabilities: kinds, memory_mb, max_pixels, model_revision, dtype, slots.');
    end if;
end;
$$;
comment on function segmentation.refuse_bad_claim is 'Refuse senseless arguments of claim_tasks with PT400.';
revoke execute on function segmentation.refuse_bad_claim from public;

create function segmentation.claim_tasks(
    p_worker text,
    p_limit integer,
    p_lease_seconds integer,
    p_deadline_seconds integer,
    p_capabilities jsonb
)
returns table (
    id uuid,
    token bigint,
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
    classes integer[];
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

    classes := array(
        select class.id from segmentation.queue_classes as class
        where
            exists (select 1 from segmentation.user_queues as queue where queue.queue_class_id = class.id)
            and segmentation.can_do(abilities, class)
    );
    -- Most looks find nothing, and need not wait for other claims.
    if classes = '{}' then
        return;
    end if;
    perform pg_advisory_xact_lock('segmentation.user_queues'::regclass::oid::integer, 0);
    picked := segmentation.pick_tasks(classes, p_limit);

    return query
    with numbered_task as materialized (
        select ordered_task.*, nextval('segmentation.tokens') as token
        from (
            select * from public.segmentation_results as task
            where task.id = any(picked)
            order by task.virtual_start, task.id
        ) as ordered_task
    ),
    opened_attempt as (
        insert into segmentation.attempts as attempt (
            token, result_id, user_id, machine_id, worker, memory_mb, lease_expires_at, deadline_at
        )
        select
            numbered_task.token,
            numbered_task.id,
            numbered_task.user_id,
            machine.id,
            p_worker,
            (abilities ->> 'memory_mb')::numeric::integer,
            now() + make_interval(secs => p_lease_seconds),
            now() + make_interval(secs => p_deadline_seconds)
        from numbered_task
        returning attempt.token, attempt.lease_expires_at, attempt.deadline_at
    )
    select
        numbered_task.id,
        opened_attempt.token,
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
    order by numbered_task.virtual_start, numbered_task.id;
end;
$$;
comment on function segmentation.claim_tasks is 'See public.claim_tasks.';
revoke execute on function segmentation.claim_tasks from public;
grant execute on function segmentation.claim_tasks to authenticated, service_role;

create function public.claim_tasks(
    p_worker text,
    p_limit integer default 1,
    p_lease_seconds integer default 30,
    p_deadline_seconds integer default 300,
    p_capabilities jsonb default '{}'
)
returns table (
    id uuid,
    token bigint,
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
language sql
security invoker
set search_path = ''
as $$
    select * from segmentation.claim_tasks(p_worker, p_limit, p_lease_seconds, p_deadline_seconds, p_capabilities);
$$;
comment on function public.claim_tasks is
'Workers: take the tasks whose turn it is, among those it can do. Each row carries its fencing token.';
revoke execute on function public.claim_tasks from public, anon, authenticated, service_role;
grant execute on function public.claim_tasks to authenticated, service_role;
