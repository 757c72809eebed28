-- What a tier is worth: its share of the machines, and its bounds.

create table segmentation.tiers (
    tier public.user_tier primary key,
    weight smallint not null,
    head_start integer not null default 0,
    max_in_flight integer,
    max_waiting integer,
    retention_days integer,

    constraint tiers_weight_positive check (weight between 1 and 1000),
    constraint tiers_head_start_not_negative check (head_start between 0 and 1000000),
    constraint tiers_max_in_flight_positive check (max_in_flight >= 1),
    constraint tiers_max_waiting_positive check (max_waiting >= 1),
    -- So that a task outlives its idempotency key.
    constraint tiers_retention_at_least_a_day check (retention_days >= 1)
);
comment on table segmentation.tiers is 'What a tier is worth. Operators change it at psql.';
comment on column segmentation.tiers.weight is 'Share of the machines against another user who waits.';
comment on column segmentation.tiers.head_start is
'Credits'' worth of others'' work that its tasks go ahead of. Bounded, so that nobody starves.';
comment on column segmentation.tiers.max_in_flight is 'Tasks of one user in work at once; null: no bound.';
comment on column segmentation.tiers.max_waiting is 'Pending tasks of one user; null: no bound.';
comment on column segmentation.tiers.retention_days is 'Final tasks older than that are pruned; null: never.';

insert into segmentation.tiers (tier, weight, head_start, max_in_flight, max_waiting)
values
('free', 1, 0, 8, 10000),
('pro', 4, 20, 64, 100000),
('internal', 4, 20, null, null);

alter table segmentation.tiers enable row level security;
create policy "Nobody reads tiers but functions" on segmentation.tiers
for select to authenticated
using (false);

create function segmentation.tier_of(p_user_id uuid)
returns segmentation.tiers
language sql
stable
security invoker
set search_path = ''
as $$
    select tiers
    from public.users_profile as profile
    inner join segmentation.tiers on profile.tier = tiers.tier
    where profile.id = p_user_id;
$$;
comment on function segmentation.tier_of is 'What a user''s tier is worth.';
revoke execute on function segmentation.tier_of from public;

create function segmentation.set_user_tier(p_user_id uuid, p_tier public.user_tier)
returns text
language plpgsql
security definer
set search_path = ''
as $$
begin
    perform segmentation.require_operator();
    update public.users_profile set tier = p_tier where id = p_user_id;
    if not found then
        perform segmentation.refuse(404, 'not_found', 'No user has that id.');
    end if;
    return 'ok';
end;
$$;
comment on function segmentation.set_user_tier is 'See public.set_user_tier.';
revoke execute on function segmentation.set_user_tier from public;
grant execute on function segmentation.set_user_tier to service_role;

create function public.set_user_tier(p_user_id uuid, p_tier public.user_tier)
returns text
language sql
security invoker
set search_path = ''
as $$
    select segmentation.set_user_tier(p_user_id, p_tier);
$$;
comment on function public.set_user_tier is
'Operators: put a user into a tier, for what they submit from then on.';
revoke execute on function public.set_user_tier from public, anon, authenticated, service_role;
grant execute on function public.set_user_tier to service_role;
