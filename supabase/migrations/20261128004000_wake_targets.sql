-- What an operator does with listeners that have an address.

create function segmentation.register_wake_target(p_name text, p_url text)
returns text
language plpgsql
security definer
set search_path = ''
as $$
declare
    target_secret text;
begin
    perform segmentation.require_operator();
    insert into segmentation.wake_targets (name, url) values (p_name, p_url)
    on conflict (name) do update set url = excluded.url, enabled = true
    returning secret into target_secret;
    return target_secret;
end;
$$;
comment on function segmentation.register_wake_target is 'See public.register_wake_target.';
revoke execute on function segmentation.register_wake_target from public;
grant execute on function segmentation.register_wake_target to service_role;

create function public.register_wake_target(p_name text, p_url text)
returns text
language sql
security invoker
set search_path = ''
as $$
    select segmentation.register_wake_target(p_name, p_url);
$$;
comment on function public.register_wake_target is
'Operators: wake the listener of that name at its /webhooks/supabase; its secret (LISTENER_WEBHOOK_SECRETS).';
revoke execute on function public.register_wake_target from public, anon, authenticated, service_role;
grant execute on function public.register_wake_target to service_role;

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

create function segmentation.remove_wake_target(p_name text)
returns text
language plpgsql
security definer
set search_path = ''
as $$
begin
    perform segmentation.require_operator();
    delete from segmentation.wake_targets where name = p_name;
    if not found then
        perform segmentation.refuse(404, 'not_found', 'No listener has that name.');
    end if;
    return 'ok';
end;
$$;
comment on function segmentation.remove_wake_target is 'See public.remove_wake_target.';
revoke execute on function segmentation.remove_wake_target from public;
grant execute on function segmentation.remove_wake_target to service_role;

create function public.remove_wake_target(p_name text)
returns text
language sql
security invoker
set search_path = ''
as $$
    select segmentation.remove_wake_target(p_name);
$$;
comment on function public.remove_wake_target is 'Operators: send that listener nothing any more: ok.';
revoke execute on function public.remove_wake_target from public, anon, authenticated, service_role;
grant execute on function public.remove_wake_target to service_role;

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
'Operators and the Edge Function notify-listener: names, addresses and signing secrets of listeners.';
revoke execute on function public.wake_targets from public, anon, authenticated, service_role;
grant execute on function public.wake_targets to service_role;
