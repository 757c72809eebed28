-- Open attempts at the pictures whose turn it is.
--
-- Claims go one after the other (an advisory lock, for a millisecond or two), so that the caps hold
-- exactly and nobody is passed over because another claim looks at their row.

create function segmentation.mark_blocked()
returns void
language plpgsql
security invoker
set search_path = ''
as $$
declare
    lane record;
begin
    for lane in
        select
            lanes.id,
            segmentation.is_blocked(lanes) as blocked
        from segmentation.lanes
        -- Nobody waits in most of them.
        where exists (select 1 from segmentation.turns where turns.lane_id = lanes.id)
        order by lanes.id
    loop
        -- Each by its own index condition. The rest at the next call: each changed row is a message
        -- to its owner. Who is locked is just being changed, and looked at again then.
        if lane.blocked then
            update public.segmentation_results as results
            set blocked_by = 'no_capable_worker'
            where results.id in (
                select pending.id from public.segmentation_results as pending
                where
                    pending.lane_id = lane.id and pending.status = 'pending'
                    and pending.blocked_by is null
                limit 1000
                for update skip locked
            );
        else
            update public.segmentation_results as results
            set blocked_by = null
            where results.id in (
                select pending.id from public.segmentation_results as pending
                where
                    pending.lane_id = lane.id and pending.status = 'pending'
                    and pending.blocked_by is not null
                limit 1000
                for update skip locked
            );
        end if;
    end loop;
end;
$$;
comment on function segmentation.mark_blocked is
'Let pending tasks say whether anybody online can do them; a thousand of a lane at a time.';
revoke execute on function segmentation.mark_blocked from public;

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
    if known.capabilities is distinct from p_capabilities or not segmentation.is_online(known) then
        -- Somebody new: what was blocked may not be any more.
        perform segmentation.mark_blocked();
    end if;
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
    -- Coalesced, for `limit null` would take everything.
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
language sql
security invoker
set search_path = ''
as $$
    select * from segmentation.claim_tasks(p_worker, p_limit, p_lease_seconds, p_deadline_seconds, p_capabilities);
$$;
comment on function public.claim_tasks is
'Workers: take the pictures whose turn it is, among those it can do. Each row carries its fencing token.';
revoke execute on function public.claim_tasks from public, anon, authenticated, service_role;
grant execute on function public.claim_tasks to authenticated, service_role;
