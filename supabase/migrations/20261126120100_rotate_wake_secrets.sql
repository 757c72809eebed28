-- A listener's secret can be changed: for a day kicks are signed by the old one too, so that the
-- host may learn the new one meanwhile.

alter table segmentation.wake_targets
add column old_secret text,
add column old_secret_until timestamptz,
add constraint wake_targets_old_secret_ends check ((old_secret is null) = (old_secret_until is null));
comment on column segmentation.wake_targets.old_secret is 'The one before; it signs beside the new one.';
comment on column segmentation.wake_targets.old_secret_until is 'Until then.';

create function segmentation.wake_secrets(p_target segmentation.wake_targets)
returns text[]
language sql
stable
security invoker
set search_path = ''
as $$
    select array_remove(
        array[
            p_target.secret,
            case when p_target.old_secret_until > now() then p_target.old_secret end
        ],
        null
    );
$$;
comment on function segmentation.wake_secrets is 'What signs for a listener now, newest first.';
revoke execute on function segmentation.wake_secrets from public;

create or replace function segmentation.kick(p_id text, p_body jsonb)
returns void
language plpgsql
security invoker
set search_path = ''
as $$
declare
    target segmentation.wake_targets;
    moment bigint := extract(epoch from clock_timestamp());
begin
    if to_regprocedure('net.http_post(text,jsonb,jsonb,jsonb,integer)') is null then
        return;
    end if;
    for target in select * from segmentation.wake_targets where wake_targets.enabled
    loop
        perform net.http_post(
            url => target.url,
            body => p_body,
            headers => jsonb_build_object(
                'content-type', 'application/json',
                'webhook-id', p_id,
                'webhook-timestamp', moment::text,
                'webhook-signature', (
                    select string_agg(
                        segmentation.webhook_signature(secrets.secret, p_id, moment, p_body::text), ' '
                        order by secrets.place
                    )
                    from unnest(segmentation.wake_secrets(target)) with ordinality as secrets (secret, place)
                )
            ),
            timeout_milliseconds => 5000
        );
    end loop;
end;
$$;

create function segmentation.rotate_wake_secret(p_name text)
returns text
language plpgsql
security definer
set search_path = ''
as $$
declare
    new_secret text;
begin
    perform segmentation.require_operator();
    update segmentation.wake_targets as targets
    set
        old_secret = targets.secret,
        old_secret_until = now() + interval '24 hours',
        secret = segmentation.new_webhook_secret()
    where targets.name = p_name
    returning targets.secret into new_secret;
    if not found then
        perform segmentation.refuse(404, 'not_found', 'No listener has that name.');
    end if;
    return new_secret;
end;
$$;
comment on function segmentation.rotate_wake_secret is 'See public.rotate_wake_secret.';
revoke execute on function segmentation.rotate_wake_secret from public;
grant execute on function segmentation.rotate_wake_secret to service_role;

create function public.rotate_wake_secret(p_name text)
returns text
language sql
security invoker
set search_path = ''
as $$
    select segmentation.rotate_wake_secret(p_name);
$$;
comment on function public.rotate_wake_secret is
'Operators: that listener''s new secret; the one before signs beside it for 24 hours.';
revoke execute on function public.rotate_wake_secret from public, anon, authenticated, service_role;
grant execute on function public.rotate_wake_secret to service_role;

drop function public.wake_targets();
drop function segmentation.wake_targets();

create function segmentation.wake_targets()
returns table (name text, url text, secrets text[])
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
    perform segmentation.require_operator();
    return query
    select targets.name, targets.url, segmentation.wake_secrets(targets)
    from segmentation.wake_targets as targets
    where targets.enabled;
end;
$$;
comment on function segmentation.wake_targets is 'See public.wake_targets.';
revoke execute on function segmentation.wake_targets from public;
grant execute on function segmentation.wake_targets to service_role;

create function public.wake_targets()
returns table (name text, url text, secrets text[])
language sql
stable
security invoker
set search_path = ''
as $$
    select * from segmentation.wake_targets();
$$;
comment on function public.wake_targets is
'Operators and the Edge Function notify-listener: who is to be woken, where, signed with each of what.';
revoke execute on function public.wake_targets from public, anon, authenticated, service_role;
grant execute on function public.wake_targets to service_role;
