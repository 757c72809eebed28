-- A receiver that asks for time (429 or 503 with Retry-After) asks it for all that goes there: its
-- other deliveries would else cost it a request, and themselves an attempt, each.

drop function segmentation.note_endpoint(uuid, boolean, boolean);

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

create or replace function segmentation.settle_delivery(
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

comment on column public.webhook_endpoints.circuit_open_until is
'Nothing is sent there before: five failures in a row, then one goes to see; or the receiver asked for time.';
