"""A new task: what is asked of it, what it costs, and what its idempotency key promises."""

import asyncio
from typing import Any

import psycopg
import pytest


pytestmark = pytest.mark.usefixtures("all_is_paid")

BARE_INSERT = """
    insert into public.segmentation_results (source_image_url, prompts, options)
    values (%s, %s, %s) returning *
"""


async def test_a_bare_insert_and_submit_task_make_the_same_row(owner: Any) -> None:
    """Both doors lead through the same triggers."""
    prompts = [{"id": "p0", "text": "cat"}, {"boxes": [{"xyxy": [1, 2, 3, 4]}]}]
    await owner.rows(BARE_INSERT, owner.upload(), prompts, {"threshold": 0.4})
    await owner.submit(
        p_source_image_url=owner.upload(), p_prompts=prompts, p_options={"threshold": 0.4}
    )
    bare, called = await owner.rows(
        "select * from public.segmentation_results order by virtual_start"
    )
    apart = {"id", "created_at", "run_after", "updated_at", "virtual_start"}
    assert {key for key in bare if bare[key] != called[key]} <= apart
    assert (bare["status"], bare["cost"], str(bare["user_id"])) == ("pending", 2, owner.id)


async def test_the_short_form_becomes_one_prompt(owner: Any) -> None:
    """`text_prompt` alone, as the seed of the API has it, is one text prompt."""
    task = await owner.submit(p_prompts=[], p_text_prompt="yellow bus")
    assert task["prompts"] == [{"id": "p0", "text": "yellow bus"}]
    assert (task["text_prompt"], task["cost"]) == ("yellow bus", 1)


@pytest.mark.parametrize(
    ("arguments", "sqlstate", "code"),
    [
        ({"p_prompts": {"text": "cat"}}, "PT400", "invalid_request"),
        ({"p_prompts": ["cat"]}, "PT400", "invalid_request"),
        ({"p_prompts": [{"text": "cat"}] * 17}, "PT400", "invalid_request"),
        ({"p_prompts": []}, "PT422", "prompt_empty"),
        ({"p_prompts": [{"text": "cat"}, {"text": "  "}]}, "PT422", "prompt_empty"),
        ({"p_prompts": [{"text": "c" * 401}]}, "PT422", "prompt_too_long"),
        ({"p_options": {"treshold": 0.5}}, "PT400", "invalid_request"),
        ({"p_options": []}, "PT400", "invalid_request"),
        ({"p_idempotency_key": ""}, "PT400", "invalid_request"),
        ({"p_idempotency_key": "k" * 256}, "PT400", "invalid_request"),
        ({"p_source_image_url": None}, "PT404", "source_not_found"),
        ({"p_source_image_url": "https://example.com/cat.png"}, "PT404", "source_not_found"),
    ],
)
async def test_a_request_nobody_could_do_is_refused(
    owner: Any, refused: Any, arguments: Any, sqlstate: str, code: str
) -> None:
    """Bad prompts, options, keys and sources are refused with their code, and nothing is held."""
    with refused(sqlstate, code):
        await owner.submit(**arguments)
    assert await owner.value("select credits from public.users_profile") == 100


async def test_a_bare_insert_is_refused_alike(owner: Any, refused: Any) -> None:
    """Going past submit_task does not go past its checks."""
    with refused("PT400", "invalid_request"):
        await owner.rows(BARE_INSERT, owner.upload(), {"text": "cat"}, {})


@pytest.mark.parametrize(
    "key",
    ["uploads/{other}/a.png", "uploads/{own}/../{other}/a.png", "uploads/{own}/", "a.png"],
)
async def test_the_source_is_an_upload_of_ones_own(
    owner: Any, stranger: Any, refused: Any, key: str
) -> None:
    """Nobody reads another's picture by naming its key."""
    with refused("PT404", "source_not_found"):
        await owner.submit(p_source_image_url=key.format(own=owner.id, other=stranger.id))


async def test_the_project_is_ones_own(owner: Any, stranger: Any, refused: Any) -> None:
    """Somebody else's project looks like none at all."""
    theirs = await stranger.value("insert into public.projects (name) values ('p') returning id")
    with refused("PT404", "not_found"):
        await owner.submit(p_project_id=theirs)


async def test_only_a_signed_in_user_submits(service: Any, owner: Any) -> None:
    """The service role submits for nobody."""
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await service.submit(p_source_image_url=owner.upload())


async def test_a_sender_cannot_set_what_is_not_theirs(owner: Any) -> None:
    """Status, cost and attempts are no columns of an insert."""
    for column, value in (("status", "done"), ("cost", 0), ("max_attempts", 99), ("id", owner.id)):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await owner.rows(
                f"insert into public.segmentation_results (source_image_url, prompts, {column})"
                " values (%s, %s, %s)",
                owner.upload(),
                [{"text": "cat"}],
                value,
            )


async def test_without_credits_nothing_is_queued(owner: Any, refused: Any, operator: Any) -> None:
    """A task that costs more than is left is refused whole."""
    for _ in range(6):
        await owner.submit(p_prompts=[{"text": "cat"}] * 16)
    with refused("PT402", "insufficient_credits"):
        await owner.submit(p_prompts=[{"text": "cat"}] * 5)
    assert await operator.value("select count(*) from public.segmentation_results") == 6
    assert await owner.value("select credits from public.users_profile") == 4


async def test_concurrent_submits_never_overspend(owner: Any, operator: Any) -> None:
    """Of fifty submits at once for three credits each, thirty-three find credits."""

    async def submit() -> str:
        """Answer `ok`, or the SQLSTATE of the refusal."""
        try:
            await owner.submit(p_prompts=[{"text": "cat"}] * 3)
        except psycopg.Error as error:
            return str(error.sqlstate)
        return "ok"

    answers = await asyncio.gather(*(submit() for _ in range(50)))
    assert (answers.count("ok"), answers.count("PT402")) == (33, 17)
    assert await owner.value("select credits from public.users_profile") == 1
    assert await operator.value("select count(*) from public.segmentation_results") == 33


async def test_concurrent_submits_of_one_key_are_one_task(owner: Any) -> None:
    """Forty submits with the same key make one row and one hold; the others are replays."""
    arguments = {
        "p_source_image_url": owner.upload(),
        "p_prompts": [{"text": "cat"}],
        "p_idempotency_key": "same",
        "p_request_hash": "h",
    }
    answers = await asyncio.gather(*(owner.call("submit_task", **arguments) for _ in range(40)))
    assert len({answer["task"]["id"] for answer in answers}) == 1
    assert [answer["replayed"] for answer in answers].count(False) == 1
    assert await owner.value("select credits from public.users_profile") == 99


async def test_a_key_with_another_request_is_a_conflict(owner: Any, refused: Any) -> None:
    """Another hash, or without hashes another request, is refused rather than hidden."""
    await owner.submit(p_idempotency_key="a", p_request_hash="h")
    with refused("PT422", "idempotency_conflict"):
        await owner.submit(p_idempotency_key="a", p_request_hash="other")
    keyed = {"p_idempotency_key": "b", "p_source_image_url": owner.upload()}
    first = await owner.submit(**keyed)
    assert (await owner.submit(**keyed))["id"] == first["id"]
    for change in (
        {"p_prompts": [{"text": "dog"}]},
        {"p_deadline_seconds": 9},
        {"p_needs": {"pixels": 1}},
    ):
        with refused("PT422", "idempotency_conflict"):
            await owner.submit(**keyed | change)


async def test_a_key_belongs_to_its_user(owner: Any, stranger: Any) -> None:
    """Two users may use the same key without meeting."""
    ids = {(await each.submit(p_idempotency_key="k"))["id"] for each in (owner, stranger)}
    assert len(ids) == 2


async def test_a_refused_submit_does_not_use_the_key_up(
    owner: Any, service: Any, refused: Any
) -> None:
    """After a refusal for want of credits the same key works, once there are some."""
    await owner.submit(p_prompts=[{"text": "cat"}] * 16)
    for _ in range(5):
        await owner.submit(p_prompts=[{"text": "cat"}] * 16)
    keyed = {"p_idempotency_key": "k", "p_prompts": [{"text": "cat"}] * 16}
    with refused("PT402", "insufficient_credits"):
        await owner.submit(**keyed)
    await service.call("grant_credits", p_user_id=owner.id, p_credits=12, p_reason="gift")
    assert (await owner.submit(**keyed))["status"] == "pending"
