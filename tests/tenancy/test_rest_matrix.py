"""The matrix through the REST gateway."""

from typing import Any

import httpx
import psycopg
import pytest
from tenancy.accounts import Accounts
from tenancy.matrix import (
    OPERATOR_FUNCTIONS,
    OWNER_FUNCTIONS,
    TABLES,
    UNEXPOSED,
    WORKER_FUNCTIONS,
    Command,
    Gets,
    Role,
)


CELLS = [
    (table, command, role, gets)
    for table, commands in TABLES.items()
    for command, roles in commands.items()
    for role, gets in roles.items()
]
CHANGES = {
    "users_profile": {"credits": 1_000_000},
    "projects": {"name": "renamed"},
    "segmentation_results": {"status": "done"},
    "usage_logs": {"credits_used": 0},
    "webhook_endpoints": {"url": "https://elsewhere.example"},
    "webhook_deliveries": {"body": "{}"},
    "webhook_attempts": {"answer": "x"},
}


def attempt(
    accounts: Accounts,
    database: psycopg.Connection[Any],
    role: Role,
    command: Command,
    table: str,
) -> Gets:
    """Try a command on a fresh row of user A; what came of it."""
    if command is Command.INSERT:
        answer = accounts.ask(
            role, "POST", table, json_body=accounts.values_of(table), Prefer="return=representation"
        )
    else:
        # A column that may be read: in a delivery not all may.
        path = f"{table}?select=id&id=eq.{accounts.row_of(table, database)}"
        method = {"select": "GET", "update": "PATCH", "delete": "DELETE"}[command]
        body = CHANGES[table] if command is Command.UPDATE else None
        answer = accounts.ask(role, method, path, json_body=body, Prefer="return=representation")
    return outcome(answer, role)


def outcome(answer: httpx.Response, role: Role) -> Gets:
    """Read an answer as a cell; anything unforeseen fails with its text."""
    if answer.is_success:
        return Gets.ROW if answer.json() else Gets.NOTHING
    refusals = {401} if role is Role.ANON else {403, 404}
    assert answer.status_code in refusals, answer.text
    return Gets.REFUSED


@pytest.mark.parametrize(
    ("table", "command", "role", "gets"), CELLS, ids=lambda part: str(part).replace(" ", "_")
)
def test_each_cell(
    accounts: Accounts,
    database: psycopg.Connection[Any],
    table: str,
    command: Command,
    role: Role,
    gets: Gets,
) -> None:
    """Who tries a command on A's row gets what the matrix says."""
    assert attempt(accounts, database, role, command, table) is gets


def test_every_table_is_in_the_matrix(database: psycopg.Connection[Any]) -> None:
    """A new table without a row in the matrix turns this red."""
    assert tables_of(database, "public") == set(TABLES)
    assert tables_of(database, "segmentation") == UNEXPOSED


def test_a_new_table_is_noticed(database: psycopg.Connection[Any]) -> None:
    """Negative control: a table that the matrix does not know makes the sets differ."""
    with database.transaction(force_rollback=True):
        database.execute("create table public.unforeseen (id integer primary key)")

        assert tables_of(database, "public") - set(TABLES) == {"unforeseen"}


@pytest.mark.parametrize("table", sorted(UNEXPOSED))
@pytest.mark.parametrize("role", Role)
def test_the_inner_schema_is_not_exposed(accounts: Accounts, table: str, role: Role) -> None:
    """REST refuses the inner schema to everybody, whatever the grants."""
    answer = accounts.ask(role, "GET", table, **{"Accept-Profile": "segmentation"})

    assert (answer.status_code, answer.json()["code"]) == (406, "PGRST106")


@pytest.mark.parametrize("function", WORKER_FUNCTIONS)
@pytest.mark.parametrize("role", Role)
def test_only_an_enabled_machine_works_on_tasks(
    accounts: Accounts, function: str, role: Role
) -> None:
    """A worker function answers an enabled machine; to anyone else it says no."""
    answer = accounts.ask(role, "POST", f"rpc/{function}", json_body=WORKER_FUNCTIONS[function])

    if role is Role.MACHINE:
        # A token that never was is `stale`; that answer is only for those who may ask.
        assert answer.is_success or answer.status_code == 400, answer.text
    else:
        assert answer.status_code in {401, 403}, answer.text


@pytest.mark.parametrize("function", OPERATOR_FUNCTIONS)
@pytest.mark.parametrize("role", Role)
def test_nobody_here_operates(accounts: Accounts, function: str, role: Role) -> None:
    """Operator functions are for the service role alone."""
    arguments = {
        name: accounts.owner.id if value == "{owner}" else value
        for name, value in OPERATOR_FUNCTIONS[function].items()
    }
    answer = accounts.ask(role, "POST", f"rpc/{function}", json_body=arguments)

    assert answer.status_code in {401, 403, 404}, answer.text


@pytest.mark.parametrize("function", OWNER_FUNCTIONS)
@pytest.mark.parametrize("role", Role)
def test_only_the_owner_has_the_webhook(
    accounts: Accounts, database: psycopg.Connection[Any], function: str, role: Role
) -> None:
    """A's webhook answers A; to anyone else it is not there."""
    delivery = accounts.row_of("webhook_deliveries", database)
    [webhook] = database.execute(
        "select endpoint_id::text from public.webhook_deliveries where id = %s", [delivery]
    ).fetchone() or (None,)
    arguments = {
        name: str(value).format(webhook=webhook, delivery=delivery)
        for name, value in OWNER_FUNCTIONS[function].items()
    }
    answer = accounts.ask(role, "POST", f"rpc/{function}", json_body=arguments)

    if role is Role.OWNER:
        assert answer.is_success, answer.text
    else:
        assert answer.status_code == (401 if role is Role.ANON else 404), answer.text


@pytest.mark.parametrize("table", sorted(TABLES))
def test_without_row_security_the_matrix_is_broken(
    accounts: Accounts, database: psycopg.Connection[Any], table: str
) -> None:
    """Negative control: with row-level security off, user B gets A's row."""
    database.execute(f"alter table public.{table} disable row level security".encode())
    try:
        got = attempt(accounts, database, Role.OTHER, Command.SELECT, table)
    finally:
        database.execute(f"alter table public.{table} enable row level security".encode())

    assert got is Gets.ROW


def tables_of(database: psycopg.Connection[Any], schema: str) -> set[str]:
    """Names of a schema's tables and views."""
    rows = database.execute(
        "select relname from pg_class where relnamespace = %s::regnamespace"
        " and relkind in ('r', 'p', 'v', 'm', 'f')",
        [schema],
    )
    return {name for (name,) in rows}
