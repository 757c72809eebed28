-- Who may join which private topic. Realtime asks once, at the join.

create function segmentation.may_join(p_topic text)
returns boolean
language sql
stable
security invoker
set search_path = ''
as $$
    select case
        when p_topic like 'user:%' then p_topic = 'user:' || auth.uid()
        when p_topic like 'workers:%' then segmentation.is_enabled_machine()
        else false
    end;
$$;
comment on function segmentation.may_join is
'May the caller join that topic: their own, or as a machine the workers''?';
revoke execute on function segmentation.may_join from public;
grant execute on function segmentation.may_join to authenticated;

create policy "Users hear their own topic, machines the workers' topics" on realtime.messages
for select to authenticated
using (extension = 'broadcast' and segmentation.may_join((select realtime.topic())));

-- A canary proves that a connection still carries messages. Realtime's probe at the join has no
-- event; a service-role client passes by its role, and functions send as their owner.
create policy "Users and machines send canaries where they listen" on realtime.messages
for insert to authenticated
with check (
    extension = 'broadcast'
    and coalesce(event, 'canary') = 'canary'
    and segmentation.may_join((select realtime.topic()))
);
