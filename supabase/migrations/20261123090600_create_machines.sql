-- GPU hosts. Each signs in as an Auth user of its own, so one can be shut out at once.

create table segmentation.machines (
    id uuid primary key,
    name text not null,
    enabled boolean not null default true,
    capabilities jsonb not null default '{}',
    created_at timestamptz not null default now(),
    last_seen_at timestamptz,

    constraint machines_is_an_auth_user foreign key (id) references auth.users (id) on delete cascade,
    constraint machines_name_length check (char_length(name) between 1 and 120),
    constraint machines_capabilities_is_object check (jsonb_typeof(capabilities) = 'object')
);
comment on table segmentation.machines is 'A GPU host that may work on tasks. Only operators change it.';
comment on column segmentation.machines.enabled is 'Asked in every call; false shuts the machine out at once.';
comment on column segmentation.machines.capabilities is 'What it can do: kinds, model, memory.';
comment on column segmentation.machines.last_seen_at is 'Last claim, to about ten seconds.';

alter table segmentation.machines enable row level security;

create policy "Nobody reads machines but functions" on segmentation.machines
for select to authenticated
using (false);
