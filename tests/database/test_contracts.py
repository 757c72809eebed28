"""What Python and SQL both say, they say alike."""

from typing import Any

import pydantic
import pytest

from devstack import migrations, settings
from s3_sam3.contracts import errors, limits, notices, prompts, tasks


@pytest.mark.parametrize(
    ("type_name", "labels"),
    [
        ("public.task_status", tasks.TaskStatus),
        ("public.user_tier", tasks.UserTier),
        ("public.usage_action", tasks.UsageAction),
    ],
)
async def test_enums_are_equal(operator: Any, type_name: str, labels: Any) -> None:
    """Each enum has the same labels in the same order."""
    found = await operator.value(f"select enum_range(null::{type_name})::text[]")
    assert found == [label.value for label in labels]


async def test_release_reasons_are_equal(owner: Any, machine: Any, operator: Any) -> None:
    """`release_task` takes and keeps each reason of the contract."""
    for reason in tasks.ReleaseReason:
        await owner.submit()
        [claim] = await machine.claim()
        await machine.call("release_task", p_token=claim["token"], p_reason=reason.value)
        query = "select release_reason from segmentation.attempts where token = %s"
        assert await operator.value(query, claim["token"]) == reason


async def test_error_codes_are_equal(operator: Any) -> None:
    """The codes a task may carry: retry, whose fault, what is given back, what the user reads."""
    rows = await operator.rows("select * from segmentation.error_codes")
    found = {row.pop("code"): row for row in rows}
    facts = {code: errors.FACTS[code] for code in errors.TASK_ERROR_CODES}
    assert found == {
        code.value: {
            "retryable": fact.retryable,
            "fault": fact.fault,
            "refund": fact.refund,
            "message": fact.message,
        }
        for code, fact in facts.items()
    }


async def test_refusals_use_known_codes_and_statuses(operator: Any) -> None:
    """Each `refuse(status, code)` in SQL is an ErrorCode with that HTTP status."""
    rows = await operator.rows(r"""
        select distinct call[1]::integer as status, call[2] as code
        from pg_proc, regexp_matches(prosrc, 'refuse\(\s*(\d+), ''(\w+)''', 'g') as call
        where pronamespace = 'segmentation'::regnamespace
    """)
    assert len(rows) >= 8
    for row in rows:
        assert errors.FACTS[errors.ErrorCode(row["code"])].status == row["status"], row


async def test_final_statuses_are_equal(operator: Any) -> None:
    """The schema's finished statuses are the contract's final ones."""
    law = await operator.value(
        "select pg_get_constraintdef(oid) from pg_constraint"
        " where conname = 'segmentation_results_finished_matches_status'"
    )
    named = {status for status in tasks.TaskStatus if f"'{status}'" in law}
    assert named == tasks.FINAL_STATUSES


async def test_a_task_costs_its_prompts(owner: Any) -> None:
    """The most prompts are allowed, and each costs what the contract says."""
    count = limits.MAX_PROMPTS_PER_TASK
    task = await owner.submit(p_prompts=[{"text": "cat"}] * count)
    assert task["cost"] == count * limits.CREDITS_PER_PROMPT


@pytest.mark.parametrize("options", [{}, *({"tiles": tiles} for tiles in (1, 2, 3, 4, 4.0))])
async def test_each_pass_costs_each_prompt(owner: Any, options: dict[str, Any]) -> None:
    """The price is prompts times passes, as `SegmentOptions.passes` counts them."""
    task = await owner.submit(p_prompts=[{"text": "cat"}] * 2, p_options=options)
    passes = prompts.SegmentOptions.model_validate(options).passes
    assert task["cost"] == 2 * passes * limits.CREDITS_PER_PROMPT


async def test_topics_and_events_are_equal(owner: Any, machine: Any, operator: Any) -> None:
    """Hints go where the contract says, under its event names."""
    await owner.submit()
    await machine.claim()
    rows = await operator.rows("select topic, event from realtime.messages order by inserted_at")
    assert [(row["topic"], row["event"]) for row in rows] == [
        (notices.WORKERS_TOPIC, notices.TASK_PENDING),
        (notices.user_topic(owner.id), notices.TASK_CHANGED),
    ]


PROMPTS: list[Any] = [
    {"text": "cat"},
    {"text": None, "boxes": [{"xyxy": [0, 0, 1.5, 2]}]},
    {"id": "a", "text": "cat", "boxes": [], "threshold": None},
    {"text": "cat", "threshold": 1},
    {"text": "cat", "threshold": 1.01},
    {"text": "cat", "threshold": [0.5]},
    {"text": "cat", "mask": 1},
    {"id": "", "text": "cat"},
    {"id": "i" * 64, "text": "cat"},
    {"id": "i" * 65, "text": "cat"},
    {"text": ["cat"]},
    {"text": [None]},
    {"id": [None], "text": "cat"},
    {"text": "cat", "threshold": [None]},
    {"boxes": None},
    {"boxes": {"xyxy": [0, 0, 1, 1]}},
    {"boxes": [{"xyxy": [0, 0, 1, 1], "label": "negative"}]},
    {"boxes": [{"xyxy": [0, 0, 1, 1], "label": "maybe"}]},
    {"boxes": [{"xyxy": [0, 0, 1, 1], "label": None}]},
    {"boxes": [{"xyxy": [0, 0, 1, 1], "label": ["negative"]}]},
    {"boxes": [{"xyxy": [0, 0, 1, 1], "score": 1}]},
    {"boxes": [{"xyxy": [0, 0, 1]}]},
    {"boxes": [{"xyxy": [1, 0, 1, 1]}]},
    {"boxes": [{"xyxy": [-1, 0, 1, 1]}]},
    {"boxes": [{"xyxy": [[0], 0, 1, 1]}]},
    {"boxes": [{"xyxy": [0, 0, 1, None]}]},
    {"boxes": [{}]},
    {"boxes": [7]},
    {"boxes": [[{"xyxy": [0, 0, 1, 1]}]]},
    {"boxes": [{"xyxy": [0, 0, "1", 1]}, {"xyxy": [0, 0, 1, 1]}], "text": 1},
    {"boxes": [{"xyxy": [0, 0, 1, 1]}] * 32},
    {"boxes": [{"xyxy": [0, 0, 1, 1]}] * 33},
    "cat",
    7,
    None,
    [],
]

OPTIONS: list[Any] = [
    {},
    {"threshold": 0, "mask_threshold": 0.5, "max_instances": 200},
    {"threshold": 1.5},
    {"mask_threshold": 0},
    {"mask_threshold": 1},
    {"max_instances": 0},
    {"max_instances": 201},
    {"max_instances": 201, "tiles": 1},
    {"max_instances": 201, "tiles": 2},
    {"max_instances": limits.MAX_INSTANCES_TILED, "tiles": 4},
    {"max_instances": limits.MAX_INSTANCES_TILED + 1, "tiles": 4},
    {"max_instances": 201, "tiles": [2]},
    {"max_instances": 201, "tiles": 5},
    {"max_instances": 1.5},
    {"max_instances": None},
    {"threshold": None},
    {"threshold": [0.5]},
    {"min_area": 0},
    {"min_area": limits.MAX_IMAGE_PIXELS},
    {"min_area": limits.MAX_IMAGE_PIXELS + 1},
    {"min_area": -1},
    {"min_area": 1.5},
    {"min_area": None},
    {"nms": 1},
    {"nms": 0.001},
    {"nms": None},
    {"nms": 0},
    {"nms": 1.01},
    {"nms": [0.5]},
    {"nms": [None]},
    {"region": None},
    {"region": [0, 0, 1.5, 2]},
    {"region": [5, 6, 7, 8]},
    {"region": []},
    {"region": [0, 0, 1]},
    {"region": [0, 0, 1, 1, 1]},
    {"region": [1, 0, 1, 1]},
    {"region": [0, 2, 1, 1]},
    {"region": [-1, 0, 1, 1]},
    {"region": [0, 0, 1, None]},
    {"region": [None]},
    {"region": [[0], 0, 1, 1]},
    {"region": {"xyxy": [0, 0, 1, 1]}},
    {"region": "0 0 1 1"},
    {"tiles": 1},
    {"tiles": limits.MAX_TILES},
    {"tiles": 2.0},
    {"tiles": limits.MAX_TILES + 1},
    {"tiles": 0},
    {"tiles": 2.5},
    {"tiles": None},
    {"tiles": [2]},
    {"floor": 0},
    {"floor": 1},
    {"floor": 1.01},
    {"floor": -0.01},
    {"floor": None},
    {"floor": 0.1, "tiles": 2, "region": [0, 0, 9, 9], "nms": 0.5, "min_area": 3},
    {"floors": 0.1},
    [],
    None,
]


def fits(model: type[pydantic.BaseModel], example: Any) -> bool:
    """Whether pydantic takes *example*."""
    try:
        model.model_validate(example)
    except pydantic.ValidationError:
        return False
    return True


@pytest.mark.parametrize(
    ("function", "model", "examples"),
    [
        ("is_prompt", prompts.Prompt, PROMPTS),
        ("are_options", prompts.SegmentOptions, OPTIONS),
    ],
)
async def test_both_sides_judge_requests_alike(
    operator: Any, function: str, model: type[pydantic.BaseModel], examples: list[Any]
) -> None:
    """An insert without the API meets the same rules."""
    rows = await operator.rows(
        f"select example, segmentation.{function}(example) as taken"
        " from jsonb_array_elements(%s) as example",
        examples,
    )
    assert len(rows) == len(examples)
    judged = [(row["example"], row["taken"]) for row in rows]
    assert judged == [(example, fits(model, example)) for example in examples]


async def test_migrations_apply_once(pool: Any) -> None:
    """A second start finds nothing left to apply."""
    async with pool.connection() as connection:
        recorded = await connection.execute(
            "select version from supabase_migrations.schema_migrations order by version"
        )
        versions = [row["version"] for row in await recorded.fetchall()]
    folder = settings.REPOSITORY / "supabase" / "migrations"
    files = [version for version, _, _ in migrations.migration_files(folder)]
    assert versions == files
    assert len(files) == len(list(folder.iterdir()))
    assert all(len(version) == len("20261123090000") for version in files)
