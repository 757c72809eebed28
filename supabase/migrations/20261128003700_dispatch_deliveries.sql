-- What a dispatcher does: claim, send, say how it went.

create function segmentation.claim_deliveries(p_limit integer, p_lease_seconds integer)
returns table (
    id text,
    claim_token bigint,
    endpoint_id uuid,
    url text,
    secrets text[],
    event text,
    body text,
    attempt_count integer,
    created_at timestamptz
)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
begin
    perform segmentation.require_operator();
    if not coalesce(p_limit between 1 and 1000 and p_lease_seconds between 1 and 3600, false) then
        perform segmentation.refuse(400, 'invalid_request', 'Limit 1 to 1000; lease 1 to 3600 seconds.');
    end if;
    return query
    with heads as materialized (
        -- Where five attempts in a row have failed, one delivery goes to see whether that has ended.
        select distinct on (deliveries.endpoint_id) deliveries.id
        from public.webhook_endpoints as endpoints
        inner join public.webhook_deliveries as deliveries on endpoints.id = deliveries.endpoint_id
        where
            endpoints.failures >= 5 and endpoints.enabled and coalesce(endpoints.circuit_open_until <= now(), true)
            and deliveries.status = 'pending' and deliveries.next_attempt_at <= now()
        order by deliveries.endpoint_id, deliveries.next_attempt_at, deliveries.id
    ),
    due as materialized (
        select deliveries.id
        from public.webhook_deliveries as deliveries
        inner join public.webhook_endpoints as endpoints on deliveries.endpoint_id = endpoints.id
        where
            deliveries.status = 'pending' and deliveries.next_attempt_at <= now()
            and endpoints.enabled and coalesce(endpoints.circuit_open_until <= now(), true)
            and (endpoints.failures < 5 or deliveries.id in (select heads.id from heads))
        order by deliveries.next_attempt_at, deliveries.id
        limit p_limit
        for update of deliveries skip locked
    ),
    claimed as (
        update public.webhook_deliveries as deliveries
        set
            claim_token = nextval('segmentation.tokens'),
            next_attempt_at = now() + make_interval(secs => p_lease_seconds)
        from due
        where deliveries.id = due.id
        returning deliveries.*
    ),
    probed as (
        -- The circuit stays open to all others until that one is settled or its lease has ended.
        update public.webhook_endpoints as endpoints
        set circuit_open_until = now() + make_interval(secs => p_lease_seconds)
        from claimed
        where endpoints.id = claimed.endpoint_id and endpoints.failures >= 5
    )
    select
        claimed.id,
        claimed.claim_token,
        claimed.endpoint_id,
        endpoints.url,
        (
            select array_agg(secrets.secret order by secrets.id desc)
            from segmentation.webhook_secrets as secrets
            where secrets.endpoint_id = claimed.endpoint_id and coalesce(secrets.expires_at > now(), true)
        ),
        claimed.event,
        claimed.body,
        claimed.attempt_count,
        claimed.created_at
    from claimed
    inner join public.webhook_endpoints as endpoints on claimed.endpoint_id = endpoints.id;
end;
$$;
comment on function segmentation.claim_deliveries is 'See public.claim_deliveries.';
revoke execute on function segmentation.claim_deliveries from public;
grant execute on function segmentation.claim_deliveries to service_role;

create function public.claim_deliveries(p_limit integer default 50, p_lease_seconds integer default 60)
returns table (
    id text,
    claim_token bigint,
    endpoint_id uuid,
    url text,
    secrets text[],
    event text,
    body text,
    attempt_count integer,
    created_at timestamptz
)
language sql
security invoker
set search_path = ''
as $$
    select * from segmentation.claim_deliveries(p_limit, p_lease_seconds);
$$;
comment on function public.claim_deliveries is
'Dispatchers: due deliveries, with the secrets to sign by. What is not settled within the lease comes again.';
revoke execute on function public.claim_deliveries from public, anon, authenticated, service_role;
grant execute on function public.claim_deliveries to service_role;

create function segmentation.delivery_wait(p_attempt_count integer)
returns interval
language sql
volatile
security invoker
set search_path = ''
as $$
    -- The schedule of the Standard Webhooks spec, with a jitter of a tenth; null: no attempt is left.
    select (array[5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400])[p_attempt_count]
        * (0.9 + random() * 0.2) * interval '1 second';
$$;
comment on function segmentation.delivery_wait is 'Wait after that many failed attempts at a delivery; null: give up.';
revoke execute on function segmentation.delivery_wait from public;

create function segmentation.note_endpoint(
    p_endpoint_id uuid,
    p_delivered boolean,
    p_gone boolean,
    p_asked interval
)
returns void
language sql
security invoker
set search_path = ''
as $$
    update public.webhook_endpoints as endpoints
    set
        failures = case when p_delivered then 0 else endpoints.failures + 1 end,
        circuit_open_until = greatest(
            -- Five failures in a row open the circuit: 10 s, 20 s, ... at most an hour.
            case
                when not p_delivered and endpoints.failures >= 4
                    then now() + least(3600, 10 * power(2, least(endpoints.failures - 4, 10))) * interval '1 second'
            end,
            now() + p_asked,
            -- What another answer asked for holds, whatever comes of requests that were open with
            -- it; from five failures on the instant is that of the probe, which is now settled.
            case
                when endpoints.failures < 5 and endpoints.circuit_open_until > now()
                    then endpoints.circuit_open_until
            end
        ),
        enabled = endpoints.enabled and not p_gone,
        disabled_reason = case when p_gone then 'gone' else endpoints.disabled_reason end
    where
        endpoints.id = p_endpoint_id
        and (not p_delivered or endpoints.failures > 0);
$$;
comment on function segmentation.note_endpoint is
'How an endpoint did: the circuit breaker, the time that it asked for (null: none), and 410.';
revoke execute on function segmentation.note_endpoint from public;

create function segmentation.settle_delivery(
    p_id text,
    p_claim_token bigint,
    p_status_code integer,
    p_latency_ms integer,
    p_answer text,
    p_error text,
    p_retry_after_seconds integer
)
returns text
language plpgsql
security definer
set search_path = ''
as $$
declare
    delivery public.webhook_deliveries;
    -- A receiver may answer any three digits; what is no HTTP status is no answer.
    answered integer := case when p_status_code between 100 and 599 then p_status_code end;
    delivered boolean := coalesce(p_status_code between 200 and 299, false);
    gone boolean := coalesce(p_status_code = 410, false);
    -- Asked for by the receiver; at most a day.
    asked interval := case
        when p_retry_after_seconds > 0 then make_interval(secs => least(p_retry_after_seconds, 86400))
    end;
    wait interval;
begin
    perform segmentation.require_operator();
    select * into delivery from public.webhook_deliveries as deliveries
    where deliveries.id = p_id and deliveries.claim_token = p_claim_token and deliveries.status = 'pending'
    for update;
    if not found then
        return 'stale';
    end if;
    insert into public.webhook_attempts (delivery_id, user_id, status_code, latency_ms, answer, error)
    values (
        p_id, delivery.user_id, answered, greatest(0, coalesce(p_latency_ms, 0)), left(p_answer, 1024),
        left(p_error, 500)
    );
    wait := segmentation.delivery_wait(delivery.attempt_count + 1);
    if wait is not null then
        wait := greatest(wait, asked);
    end if;
    update public.webhook_deliveries as deliveries
    set
        status = case
            when delivered then 'delivered'
            when gone or wait is null then 'dead'
            else 'pending'
        end::public.webhook_delivery_status,
        finished_at = case when delivered or gone or wait is null then now() end,
        attempt_count = deliveries.attempt_count + 1,
        next_attempt_at = coalesce(now() + wait, deliveries.next_attempt_at),
        last_status_code = answered,
        claim_token = null
    where deliveries.id = p_id;
    perform segmentation.note_endpoint(
        delivery.endpoint_id, delivered, gone, case when p_status_code in (429, 503) then asked end
    );
    return 'ok';
end;
$$;
comment on function segmentation.settle_delivery is 'See public.settle_delivery.';
revoke execute on function segmentation.settle_delivery from public;
grant execute on function segmentation.settle_delivery to service_role;

create function public.settle_delivery(
    p_id text,
    p_claim_token bigint,
    p_status_code integer,
    p_latency_ms integer,
    p_answer text default null,
    p_error text default null,
    p_retry_after_seconds integer default null
)
returns text
language sql
security invoker
set search_path = ''
as $$
    select segmentation.settle_delivery(
        p_id, p_claim_token, p_status_code, p_latency_ms, p_answer, p_error, p_retry_after_seconds
    );
$$;
comment on function public.settle_delivery is
'Dispatchers: what the receiver answered (null: nothing): ok or stale. Decides on retry, dead letter and circuit.';
revoke execute on function public.settle_delivery from public, anon, authenticated, service_role;
grant execute on function public.settle_delivery to service_role;
