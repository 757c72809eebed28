"""Who sees and does what: tables by role and command, functions by caller."""

from typing import Any

import psycopg
import pytest
from database.webhook_calls import add_webhook, settle, take


TABLES = (
    "users_profile",
    "projects",
    "segmentation_results",
    "usage_logs",
    "webhook_endpoints",
    "webhook_deliveries",
    "webhook_attempts",
)
INTERNAL = (
    "attempts",
    "error_codes",
    "fair_clocks",
    "queue_classes",
    "machines",
    "object_deletions",
    "idempotency_keys",
    "tiers",
    "user_queues",
    "wake_targets",
    "webhook_secrets",
    "workers",
)

#: Worker functions, with arguments that would do.
WORKER_CALLS: dict[str, dict[str, Any]] = {
    "claim_tasks": {"p_worker": "w"},
    "renew_lease": {"p_token": 1},
    "report_progress": {"p_token": 1, "p_progress": 0.5},
    "complete_task": {
        "p_token": 1,
        "p_manifest_url": "m",
        "p_mask_image_url": None,
        "p_overlay_image_url": None,
        "p_instance_count": 0,
        "p_summary": {},
    },
    "fail_task": {"p_token": 1, "p_error_code": "internal"},
    "release_task": {"p_token": 1},
    "reap_tasks": {},
    "attempt_objects": {"p_token": 1},
}

#: Functions of users, and of operators with arguments that would do; `OWNER` stands for an id.
USER_FUNCTIONS = {
    "submit_task",
    "cancel_task",
    "delete_result",
    "queue_status",
    "create_webhook",
    "update_webhook",
    "rotate_webhook_secret",
    "delete_webhook",
    "test_webhook",
    "redeliver_webhook",
}
OWNER = "{owner}"
OPERATOR_CALLS: dict[str, dict[str, Any]] = {
    "register_machine": {"p_id": OWNER, "p_name": "x"},
    "set_machine_enabled": {"p_id": OWNER, "p_enabled": True},
    "grant_credits": {"p_user_id": OWNER, "p_credits": 1, "p_reason": "x"},
    "top_up_credits": {"p_user_id": OWNER, "p_credits": 1, "p_event_id": "x"},
    "refund_task": {"p_result_id": OWNER, "p_reason": "x"},
    "set_user_tier": {"p_user_id": OWNER, "p_tier": "internal"},
    "take_object_deletions": {},
    "finish_object_deletion": {"p_id": 1},
    "prune_results": {},
    "orphaned_objects": {"p_keys": None},
    "ledger_mismatches": {},
    "claim_deliveries": {},
    "settle_delivery": {"p_id": "x", "p_claim_token": 1, "p_status_code": 200, "p_latency_ms": 1},
    "webhook_secrets_of": {"p_endpoint_id": OWNER},
    "prune_webhooks": {},
    "register_wake_target": {"p_name": "x", "p_url": "http://127.0.0.1:9/x"},
    "rotate_wake_secret": {"p_name": "x"},
    "remove_wake_target": {"p_name": "x"},
    "wake_targets": {},
}


@pytest.fixture
def callers(owner: Any, machine: Any, service: Any, nobody: Any) -> dict[str, Any]:
    """Everybody who may knock, by name."""
    return {"owner": owner, "machine": machine, "service": service, "nobody": nobody}


@pytest.fixture
async def rows_of_owner(owner: Any, service: Any) -> None:
    """One row of the owner's in each table."""
    project = await owner.value("insert into public.projects (name) values ('p') returning id")
    await owner.submit(p_project_id=project)
    webhook = await add_webhook(owner)
    await owner.call("test_webhook", p_id=webhook["id"])
    [delivery] = await take(service)
    await settle(service, delivery, 200)


@pytest.mark.usefixtures("rows_of_owner")
@pytest.mark.parametrize("table", TABLES)
async def test_users_see_their_own_rows_only(owner: Any, stranger: Any, table: str) -> None:
    """The owner sees the row, a stranger none of the owner's."""
    column = "id" if table == "users_profile" else "user_id"
    query = f"select count(*) from public.{table} where {column} = %s"
    assert await owner.value(query, owner.id) >= 1
    assert await stranger.value(query, owner.id) == 0


@pytest.mark.usefixtures("rows_of_owner")
@pytest.mark.parametrize("table", TABLES)
async def test_anonymous_callers_see_nothing(nobody: Any, table: str) -> None:
    """The anon key opens no table."""
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await nobody.rows(f"select * from public.{table}")


@pytest.mark.usefixtures("rows_of_owner")
@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("role", ["owner", "service"])
async def test_tables_change_by_functions_alone(
    callers: dict[str, Any], table: str, role: str
) -> None:
    """Neither owners nor the service key update or delete rows, a project's name apart."""
    caller = callers[role]
    column = "tier" if table == "users_profile" else "user_id"
    commands = [f"update public.{table} set {column} = {column}", f"truncate public.{table}"]
    if (table, role) != ("projects", "owner"):
        commands.append(f"delete from public.{table}")
    for command in commands:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await caller.rows(command)


@pytest.mark.parametrize("table", INTERNAL)
@pytest.mark.parametrize("role", ["owner", "machine", "service", "nobody"])
async def test_internal_tables_are_closed(callers: dict[str, Any], table: str, role: str) -> None:
    """Attempts, machines and codes are read by functions alone."""
    caller = callers[role]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await caller.rows(f"select * from segmentation.{table}")


async def test_projects_are_their_owners(owner: Any, stranger: Any) -> None:
    """Owners create, rename and delete; strangers reach nothing."""
    project = await owner.value("insert into public.projects (name) values ('a') returning id")
    rename = "update public.projects set name = 'b' where id = %s returning name"
    delete = "delete from public.projects where id = %s returning id"
    assert await stranger.rows(rename, project) == []
    assert await stranger.rows(delete, project) == []
    assert await owner.value(rename, project) == "b"
    assert len(await owner.rows(delete, project)) == 1


async def test_nobody_makes_a_project_for_another(owner: Any, stranger: Any) -> None:
    """A project has the owner that its maker is."""
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await owner.rows(
            "insert into public.projects (user_id, name) values (%s, 'x')", stranger.id
        )


@pytest.mark.parametrize("function", WORKER_CALLS)
async def test_users_do_not_work(owner: Any, refused: Any, function: str) -> None:
    """A plain user is refused by every worker function."""
    with refused("PT403", "forbidden"):
        await owner.table(function, **WORKER_CALLS[function])


@pytest.mark.parametrize("function", WORKER_CALLS)
async def test_a_disabled_machine_is_out_at_once(
    machine: Any, service: Any, refused: Any, function: str
) -> None:
    """Disabling a machine shuts every worker function to it; enabling opens them again."""
    await service.call("set_machine_enabled", p_id=machine.id, p_enabled=False)
    with refused("PT403", "forbidden"):
        await machine.table(function, **WORKER_CALLS[function])
    await service.call("set_machine_enabled", p_id=machine.id, p_enabled=True)
    assert await machine.table(function, **WORKER_CALLS[function]) is not None


@pytest.mark.parametrize("function", WORKER_CALLS)
async def test_the_service_key_may_work(service: Any, function: str) -> None:
    """A trusted host with the service key needs no machine."""
    assert await service.table(function, **WORKER_CALLS[function]) is not None


async def test_a_machine_needs_the_claim_and_the_row(
    new_owner: Any, service: Any, refused: Any
) -> None:
    """Neither `app_metadata.kind` nor a row in machines suffices alone."""
    claim_only = await new_owner(kind="gpu")
    row_only = await new_owner()
    await service.call("register_machine", p_id=row_only.id, p_name="host")
    for caller in (claim_only, row_only):
        with refused("PT403", "forbidden"):
            await caller.claim()


async def test_registering_again_does_not_enable(machine: Any, service: Any, refused: Any) -> None:
    """A disabled machine stays disabled when it is renamed."""
    await service.call("set_machine_enabled", p_id=machine.id, p_enabled=False)
    await service.call("register_machine", p_id=machine.id, p_name="new name")
    with refused("PT403", "forbidden"):
        await machine.claim()


@pytest.mark.parametrize("function", OPERATOR_CALLS)
async def test_operating_is_for_the_service_key(
    owner: Any, machine: Any, nobody: Any, function: str
) -> None:
    """Users, machines and anonymous callers have no operator functions."""
    asked = OPERATOR_CALLS[function]
    arguments = {name: owner.id if value == OWNER else value for name, value in asked.items()}
    for caller in (owner, machine, nobody):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await caller.table(function, **arguments)


async def test_the_service_key_operates(owner: Any, service: Any, refused: Any) -> None:
    """Negative control: with the service key the same calls reach the function."""
    with refused("PT404", "not_found"):
        await service.call("set_machine_enabled", p_id=owner.id, p_enabled=True)
    assert await service.call("set_user_tier", p_user_id=owner.id, p_tier="pro") == "ok"
    assert await service.table("take_object_deletions") == []


async def test_each_function_is_somebodys(operator: Any) -> None:
    """A function that is in none of the lists above turns this red; so does a wrong grant."""
    rows = await operator.rows("""
        select
            proname as name,
            has_function_privilege('authenticated', oid, 'execute') as users,
            has_function_privilege('service_role', oid, 'execute') as service
        from pg_proc where pronamespace = 'public'::regnamespace
    """)
    may = {row["name"]: (row["users"], row["service"]) for row in rows}
    assert may == (
        dict.fromkeys(USER_FUNCTIONS, (True, False))
        | dict.fromkeys(WORKER_CALLS, (True, True))
        | dict.fromkeys(OPERATOR_CALLS, (False, True))
    )


async def test_anonymous_callers_have_no_function(nobody: Any, operator: Any) -> None:
    """The anon role may execute nothing of ours."""
    mine = await operator.rows("""
        select oid::regprocedure::text as name from pg_proc
        where pronamespace in ('public'::regnamespace, 'segmentation'::regnamespace)
            and has_function_privilege('anon', oid, 'execute')
    """)
    assert mine == []
