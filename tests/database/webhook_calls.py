"""What the laws of webhooks have in common: an endpoint, its deliveries, one attempt's end."""

import json
import uuid
from typing import Any

from database.callers import Pool
from psycopg.rows import DictRow


ENDS = "{task.done,task.failed,task.cancelled}"
"""Events, as PostgreSQL writes an array; a Python list would become jsonb."""


async def add_webhook(owner: Any, events: str = ENDS, **arguments: Any) -> DictRow:
    """Add an endpoint; its row, with the secret beside it."""
    url = arguments.pop("url", f"https://receiver.example/{uuid.uuid4().hex}")
    made = await owner.call("create_webhook", p_url=url, p_events=events, **arguments)
    return {**made["webhook"], "secret": made["secret"]}


async def deliveries_of(operator: Any, webhook: DictRow) -> list[DictRow]:
    """Deliveries to an endpoint, oldest first, past every policy."""
    query = "select * from public.webhook_deliveries where endpoint_id = %s order by created_at, id"
    rows: list[DictRow] = await operator.rows(query, webhook["id"])
    return rows


async def endpoint_row(operator: Any, webhook: DictRow) -> DictRow:
    """An endpoint as it stands now."""
    query = "select * from public.webhook_endpoints where id = %s"
    row: DictRow = (await operator.rows(query, webhook["id"]))[0]
    return row


async def take(service: Any, limit: int = 50) -> list[DictRow]:
    """Claim what is due."""
    rows: list[DictRow] = await service.table("claim_deliveries", p_limit=limit)
    return rows


async def settle(service: Any, claim: DictRow, status: int | None, **arguments: Any) -> str:
    """Say how an attempt went: ok or stale."""
    answer: str = await service.call(
        "settle_delivery",
        p_id=claim["id"],
        p_claim_token=claim["claim_token"],
        p_status_code=status,
        p_latency_ms=arguments.pop("latency_ms", 12),
        **arguments,
    )
    return answer


async def make_due(operator: Any, webhook: DictRow) -> None:
    """End every wait of an endpoint: of its deliveries, their leases, and its circuit."""
    await operator.rows(
        "update public.webhook_deliveries set next_attempt_at = now() - interval '1 second'"
        " where endpoint_id = %s and status = 'pending'",
        webhook["id"],
    )
    await operator.rows(
        "update public.webhook_endpoints set circuit_open_until = now() - interval '1 second'"
        " where id = %s and circuit_open_until is not null",
        webhook["id"],
    )


async def seconds_until_next(operator: Any, delivery_id: str) -> float:
    """From now to a delivery's next attempt."""
    query = """
        select extract(epoch from next_attempt_at - now())::float
        from public.webhook_deliveries where id = %s
    """
    seconds: float = await operator.value(query, delivery_id)
    return seconds


async def fail(service: Any, operator: Any, webhook: DictRow, times: int) -> None:
    """Let the endpoint's first delivery fail so often, whatever the waits."""
    for _ in range(times):
        await make_due(operator, webhook)
        [claim] = await take(service, limit=1)
        assert await settle(service, claim, 500) == "ok"


async def hints_of_one_task(pool: Pool, owner: Any) -> list[DictRow]:
    """Queue a task, look at pg_net's queue in the same transaction, and undo it all."""
    async with pool.connection() as connection, connection.transaction(force_rollback=True):
        claims = json.dumps({"role": "authenticated", "sub": owner.id})
        await connection.execute(
            "select set_config('role', 'authenticated', true),"
            " set_config('request.jwt.claims', %s, true)",
            [claims],
        )
        await connection.execute(
            "insert into public.segmentation_results (source_image_url, prompts)"
            ' values (%s, \'[{"text": "cat"}]\')',
            [owner.upload()],
        )
        await connection.execute("reset role")
        hints = await connection.execute(
            "select url, headers, convert_from(body, 'UTF8') as body, timeout_milliseconds"
            " from net.http_request_queue order by url"
        )
        return await hints.fetchall()


def tells(hint: DictRow, secret: str) -> bool:
    """Whether what pg_net shows of a hint has the secret in it, in one spelling or the other."""
    everything = json.dumps(hint["headers"]) + hint["body"] + hint["url"]
    return secret.removeprefix("whsec_") in everything
