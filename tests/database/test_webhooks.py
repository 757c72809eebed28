"""What an owner may do with webhooks, and who may read what of them."""

from typing import Any

import psycopg
import pydantic
import pytest
from database.webhook_calls import add_webhook, deliveries_of, endpoint_row, settle, take

from s3_sam3.contracts import limits, webhooks


TABLES = ("webhook_endpoints", "webhook_deliveries", "webhook_attempts")


async def test_a_new_webhook_answers_its_row_and_secret(owner: Any) -> None:
    """The row is the owner's and on; the secret is 32 bytes in Standard Webhooks' spelling."""
    made = await add_webhook(owner, p_description="mine")
    assert (made["user_id"], made["enabled"], made["description"]) == (owner.id, True, "mine")
    assert made["secret"].startswith("whsec_")
    assert len(made["secret"]) == len("whsec_") + 44


async def test_two_webhooks_have_two_secrets(owner: Any) -> None:
    """No secret is given twice."""
    first, second = await add_webhook(owner), await add_webhook(owner)
    assert first["secret"] != second["secret"]


async def test_secrets_are_read_by_functions_alone(
    owner: Any, machine: Any, service: Any, nobody: Any
) -> None:
    """Nobody may read the table of secrets, its owner and the service key included."""
    await add_webhook(owner)
    for caller in (owner, machine, service, nobody):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await caller.rows("select secret from segmentation.webhook_secrets")


async def test_no_row_that_a_user_reads_holds_the_secret(owner: Any) -> None:
    """After the answer of create_webhook the secret is nowhere to be seen."""
    made = await add_webhook(owner)
    [row] = await owner.rows("select webhook_endpoints::text as all from public.webhook_endpoints")
    assert made["secret"] not in row["all"]
    changed = await owner.call("update_webhook", p_id=made["id"], p_description="x")
    assert "secret" not in changed


async def test_secrets_for_signing_are_for_operators(owner: Any, machine: Any) -> None:
    """Neither the owner nor a machine may call what hands secrets out."""
    made = await add_webhook(owner)
    for caller in (owner, machine):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await caller.call("webhook_secrets_of", p_endpoint_id=made["id"])


async def test_a_user_has_ten_webhooks(owner: Any, stranger: Any, refused: Any) -> None:
    """The eleventh is refused until one is deleted; another user is not concerned."""
    made = [await add_webhook(owner) for _ in range(limits.MAX_WEBHOOKS)]
    with refused("PT429", "rate_limited"):
        await add_webhook(owner)
    await add_webhook(stranger)
    await owner.call("delete_webhook", p_id=made[0]["id"])
    assert await add_webhook(owner)


URLS = [
    "https://example.com",
    "https://example.com/hooks?a=b#c",
    "https://example.com:8443/x",
    "https://[2001:db8::1]/x",
    "http://localhost:8080/x",
    "http://127.0.0.1/x",
    "http://example.com/x",
    "http://localhost.example.com/x",
    "http://127.0.0.1.example.com/x",
    "http://127.0.0.1@example.com/x",
    "https://user:pw@example.com/",
    "https://user@example.com",
    "https://",
    "https:///x",
    "https://example.com/a b",
    "https://example.com/\n",
    "https://example.com/\u007f",
    "ftp://example.com",
    "javascript:alert(1)",
    "https://example.com/" + "x" * 2028,
    "https://example.com/" + "x" * 2029,
    "",
]


@pytest.mark.parametrize("url", URLS)
async def test_both_sides_judge_urls_alike(owner: Any, refused: Any, url: str) -> None:
    """The API's model and the database take the same addresses."""
    try:
        webhooks.WebhookRequest(url=url)
    except pydantic.ValidationError:
        with refused("PT400", "invalid_request"):
            await add_webhook(owner, url=url)
    else:
        assert (await add_webhook(owner, url=url))["url"] == url


@pytest.mark.parametrize("events", ["{}", "{task.begun}", "{task.done,NULL}", "{webhook.test}"])
async def test_unknown_events_are_refused(owner: Any, refused: Any, events: str) -> None:
    """A webhook names at least one event, and only such as there are."""
    with refused("PT400", "invalid_request"):
        await add_webhook(owner, events)


async def test_every_event_of_the_contract_is_known(owner: Any) -> None:
    """Each WebhookEvent can be asked for."""
    made = await add_webhook(owner, "{" + ",".join(webhooks.WebhookEvent) + "}")
    assert made["events"] == list(webhooks.WebhookEvent)


async def test_a_change_leaves_the_rest(owner: Any, refused: Any) -> None:
    """What is null stays; a bad value is refused whole."""
    made = await add_webhook(owner, p_description="old")
    changed = await owner.call("update_webhook", p_id=made["id"], p_events="{task.failed}")
    assert changed["events"] == ["task.failed"]
    assert (changed["url"], changed["description"]) == (made["url"], "old")
    with refused("PT400", "invalid_request"):
        await owner.call("update_webhook", p_id=made["id"], p_url="http://example.com")


async def test_switching_off_and_on_says_why(owner: Any) -> None:
    """Off by the owner has a reason, on has none."""
    made = await add_webhook(owner)
    off = await owner.call("update_webhook", p_id=made["id"], p_enabled=False)
    on = await owner.call("update_webhook", p_id=made["id"], p_enabled=True)
    assert (off["enabled"], off["disabled_reason"]) == (False, "owner")
    assert (on["enabled"], on["disabled_reason"]) == (True, None)


@pytest.mark.parametrize(
    "function", ["update_webhook", "rotate_webhook_secret", "delete_webhook", "test_webhook"]
)
async def test_another_users_webhook_is_not_there(
    owner: Any, stranger: Any, operator: Any, refused: Any, function: str
) -> None:
    """Nobody changes, tries out or deletes what is not theirs; nothing moves."""
    made = await add_webhook(owner)
    before = await endpoint_row(operator, made)
    with refused("PT404", "not_found"):
        await stranger.call(function, p_id=made["id"])
    assert await endpoint_row(operator, made) == before
    assert await deliveries_of(operator, made) == []


async def test_the_old_secret_signs_beside_the_new_one(
    owner: Any, service: Any, operator: Any
) -> None:
    """After a rotation both sign, the new one first; a day later only the new one."""
    made = await add_webhook(owner)
    new = await owner.call("rotate_webhook_secret", p_id=made["id"])
    secrets = await service.call("webhook_secrets_of", p_endpoint_id=made["id"])
    assert secrets == [new, made["secret"]]
    await operator.rows(
        "update segmentation.webhook_secrets set expires_at = expires_at - interval '24 hours'"
    )
    assert await service.call("webhook_secrets_of", p_endpoint_id=made["id"]) == [new]


async def test_two_rotations_leave_two_secrets(owner: Any, service: Any) -> None:
    """A header never carries more than two signatures; the oldest secret goes."""
    made = await add_webhook(owner)
    second = await owner.call("rotate_webhook_secret", p_id=made["id"])
    third = await owner.call("rotate_webhook_secret", p_id=made["id"])
    secrets = await service.call("webhook_secrets_of", p_endpoint_id=made["id"])
    assert secrets == [third, second]


async def test_a_deleted_webhook_leaves_nothing(owner: Any, operator: Any) -> None:
    """Secrets and deliveries go with it."""
    made = await add_webhook(owner)
    await owner.call("test_webhook", p_id=made["id"])
    await owner.call("delete_webhook", p_id=made["id"])
    assert await deliveries_of(operator, made) == []
    assert await operator.value("select count(*) from segmentation.webhook_secrets") == 0


@pytest.fixture
async def attempted(owner: Any, service: Any) -> None:
    """One row of the owner's in each table of webhooks."""
    made = await add_webhook(owner)
    await owner.call("test_webhook", p_id=made["id"])
    [claim] = await take(service)
    await settle(service, claim, 200, p_answer="thanks")


@pytest.mark.usefixtures("attempted")
@pytest.mark.parametrize("table", TABLES)
async def test_users_read_their_own_rows_only(owner: Any, stranger: Any, table: str) -> None:
    """The owner sees one row, a stranger none."""
    query = f"select count(*) from public.{table}"
    assert await owner.value(query) == 1
    assert await stranger.value(query) == 0


@pytest.mark.usefixtures("attempted")
@pytest.mark.parametrize("table", TABLES)
async def test_without_row_security_a_stranger_reads(
    stranger: Any, operator: Any, table: str
) -> None:
    """Negative control: with row-level security off, a stranger sees the owner's row."""
    await operator.rows(f"alter table public.{table} disable row level security")
    try:
        assert await stranger.value(f"select count(*) from public.{table}") == 1
    finally:
        await operator.rows(f"alter table public.{table} enable row level security")


@pytest.mark.usefixtures("attempted")
@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("verb", ["insert", "update", "delete"])
async def test_users_cannot_write_the_tables(owner: Any, table: str, verb: str) -> None:
    """Rows move by functions alone."""
    command = {
        "insert": f"insert into public.{table} (user_id) values (auth.uid())",
        "update": f"update public.{table} set user_id = user_id",
        "delete": f"delete from public.{table}",
    }[verb]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await owner.rows(command)


@pytest.mark.usefixtures("attempted")
async def test_a_deliverys_token_is_not_granted(owner: Any) -> None:
    """A user who names the fencing token is refused."""
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await owner.rows("select claim_token from public.webhook_deliveries")
