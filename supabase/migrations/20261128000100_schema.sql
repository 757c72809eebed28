-- The schema that PostgREST does not expose: the queue, and every function that may change a row.
--
-- `public` holds the tables that users know, and thin `security invoker` wrappers. A wrapper calls
-- a `security definer` function here, so its caller needs USAGE, but no right on any table.
-- Postgres lets PUBLIC execute a new function: that right is taken back beside each function.
-- The project's default privileges stay as they are, because other schemas may live beside ours.

create schema segmentation;
comment on schema segmentation is 'Concept segmentation: the queue, its attempts, and what may move them.';

grant usage on schema segmentation to authenticated, service_role;

-- For hmac(), which signs webhooks. A hosted project has it already.
create extension if not exists pgcrypto with schema extensions;

create function segmentation.refuse(p_http_status integer, p_error_code text, p_detail text)
returns void
language plpgsql
security invoker
set search_path = ''
as $$
begin
    -- Never 40001: PostgREST would run the transaction again, without end.
    raise exception using
        errcode = 'PT' || p_http_status,
        message = p_error_code,
        detail = p_detail;
end;
$$;
comment on function segmentation.refuse is
'Raise an error that PostgREST answers with that HTTP status; its message is the ErrorCode.';
revoke execute on function segmentation.refuse from public;

create function segmentation.touch_updated_at()
returns trigger
language plpgsql
security invoker
set search_path = ''
as $$
begin
    new.updated_at := now();
    return new;
end;
$$;
comment on function segmentation.touch_updated_at is 'Trigger: set updated_at on every update.';
revoke execute on function segmentation.touch_updated_at from public;
