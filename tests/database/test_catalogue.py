"""House rules of the schema, asked of the catalogue itself."""

from typing import Any

import pytest


OURS = "in ('public'::regnamespace, 'segmentation'::regnamespace)"

#: A rule, and a query for what breaks it.
RULES = {
    "each function pins an empty search_path": f"""
        select oid::regprocedure::text as broken from pg_proc
        where pronamespace {OURS} and not coalesce('search_path=""' = any (proconfig), false)
    """,
    "no definer function in an exposed schema": """
        select oid::regprocedure::text as broken from pg_proc
        where pronamespace = 'public'::regnamespace and prosecdef
    """,
    "each function is revoked from PUBLIC": f"""
        select oid::regprocedure::text as broken from pg_proc
        where pronamespace {OURS} and (proacl is null or exists (
            select 1 from aclexplode(proacl) where grantee = 0
        ))
    """,
    "each function is commented": f"""
        select oid::regprocedure::text as broken from pg_proc
        where pronamespace {OURS} and obj_description(oid, 'pg_proc') is null
    """,
    "each table has row-level security": f"""
        select oid::regclass::text as broken from pg_class
        where relnamespace {OURS} and relkind = 'r' and not relrowsecurity
    """,
    "each table has a policy": f"""
        select oid::regclass::text as broken from pg_class
        where relnamespace {OURS} and relkind = 'r'
            and not exists (select 1 from pg_policy where polrelid = pg_class.oid)
    """,
    "each table and sequence of ours is commented": f"""
        select oid::regclass::text as broken from pg_class
        where relnamespace {OURS} and relkind in ('r', 'S')
            and obj_description(oid, 'pg_class') is null
            -- An identity column brings its sequence along.
            and not exists (
                select 1 from pg_depend where objid = pg_class.oid and deptype = 'i'
            )
    """,
    "each enum is commented": f"""
        select oid::regtype::text as broken from pg_type
        where typnamespace {OURS} and typtype = 'e' and obj_description(oid, 'pg_type') is null
    """,
    "each foreign key has an index": f"""
        select conname::text as broken from pg_constraint
        where connamespace {OURS} and contype = 'f'
            -- The primary key serves a foreign key on itself.
            and not exists (
                select 1 from pg_index
                where indrelid = conrelid
                    and (indkey::int2[])[0:array_length(conkey, 1) - 1] = conkey
            )
    """,
    "each constraint has a name of its own": f"""
        select conname::text as broken from pg_constraint
        where connamespace {OURS} and contype in ('c', 'f', 'u')
            and conname ~ '_(check|fkey|key)[0-9]*$'
    """,
    "each policy is a sentence for one role and verb": f"""
        select polname::text as broken from pg_policy
        inner join pg_class on pg_class.oid = polrelid
        where relnamespace {OURS}
            and (polcmd = '*' or cardinality(polroles) <> 1 or polname !~ '^[A-Z].* ')
    """,
    "no SQLSTATE 40001 in any function": f"""
        select oid::regprocedure::text as broken from pg_proc
        where pronamespace {OURS} and prosrc ~* '''(40001|serialization_failure)'''
    """,
    "the API's roles have no right to change tables": f"""
        select oid::regclass::text as broken from pg_class, unnest(array[
            'anon', 'authenticated', 'service_role'
        ]) as role
        where relnamespace {OURS} and relkind = 'r' and (
            has_table_privilege(role, oid, 'truncate, references, trigger, update, insert')
            or (has_table_privilege(role, oid, 'delete') and relname <> 'projects')
        )
    """,
}


@pytest.mark.parametrize("rule", RULES)
async def test_the_schema_keeps_the_house_rules(operator: Any, rule: str) -> None:
    """Each rule finds nothing that breaks it."""
    assert await operator.rows(RULES[rule]) == []


#: What breaks each rule, so that its query is known to see something.
BREACHES = {
    "each function pins an empty search_path": "alter function {f} reset search_path",
    "no definer function in an exposed schema": "alter function {f} security definer",
    "each function is revoked from PUBLIC": "grant execute on function {f} to public",
    "each function is commented": "comment on function {f} is null",
    "each table has row-level security": "alter table {t} disable row level security",
    "each table has a policy": 'drop policy "Users read their own ledger" on {t}',
    "each table and sequence of ours is commented": "comment on table {t} is null",
    "each enum is commented": "comment on type public.usage_action is null",
    "each foreign key has an index": "drop index public.usage_logs_by_user",
    "each constraint has a name of its own": "alter table {t} add check (id > 0)",
    "each policy is a sentence for one role and verb": "create policy p on {t} using (true)",
    "no SQLSTATE 40001 in any function": """
        create function public.bad() returns void language plpgsql as
        $$ begin raise exception using errcode = '40001'; end $$
    """,
    "the API's roles have no right to change tables": "grant update on {t} to service_role",
}


@pytest.mark.parametrize("rule", RULES)
async def test_each_house_rule_sees_its_breach(pool: Any, rule: str) -> None:
    """Negative control: a breach of the rule, undone afterwards, is found."""
    breach = BREACHES[rule].format(f="public.cancel_task", t="public.usage_logs")
    async with pool.connection() as connection, connection.transaction(force_rollback=True):
        await connection.execute(breach)
        assert await (await connection.execute(RULES[rule])).fetchall() != []
