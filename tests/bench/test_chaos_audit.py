"""The chaos bench's auditor sees what it is there to see."""

import uuid
from collections import Counter
from typing import Any

import psycopg
import pytest

from bench.chaos import books, fake_gpu, unfenced
from bench.chaos.users import Job
from s3_sam3.contracts import pipeline, prompts


USER = str(uuid.uuid4())


def row(task: str, *, token: int, status: str = "done", charged: int = 1) -> dict[str, Any]:
    """A final row whose objects lie under *token*."""
    folder = f"results/{USER}/{task}/{token}"
    return {
        "id": task,
        "user_id": USER,
        "status": status,
        "charged": charged,
        "manifest_url": f"{folder}/manifest.json" if status == "done" else None,
        "mask_image_url": f"{folder}/mask.png" if status == "done" else None,
        "overlay_image_url": f"{folder}/overlay.webp" if status == "done" else None,
    }


def attempt(token: int, outcome: str | None) -> dict[str, Any]:
    """An attempt; without outcome it is open."""
    return {"token": token, "outcome": outcome, "ended_at": outcome and "now"}


def kept(
    *rows: dict[str, Any], attempts: list[dict[str, Any]], actions: tuple[str, ...] = ()
) -> books.Books:
    """Books of one task, each ledger row worth one credit."""
    task = rows[0]["id"]
    return books.Books(
        rows={one["id"]: one for one in rows},
        attempts={task: attempts},
        ledger={task: Counter(actions)},
        entries={task: Counter(actions)},
        mismatches=[],
    )


def job(task: str | None, *, deleted: bool = False) -> Job:
    """A job with one prompt."""
    return Job(user=USER, picture="p", texts=["usual 0 0"], task_id=task, deleted=deleted)


def test_the_last_attempts_result_is_right() -> None:
    """A task that was taken away, given again and done by the second has a right result."""
    found = kept(row("t", token=2), attempts=[attempt(1, "lease_expired"), attempt(2, "done")])

    assert books.stale_results(found) == []


@pytest.mark.parametrize(
    ("token", "outcomes"),
    [
        (1, ("lease_expired", "done")),  # written over by a zombie
        (1, ("lease_expired", "lease_expired")),  # written by a zombie, the holder thrown out
        (1, ("done", "lease_expired")),  # given away after it was done
        (2, ("done", "done")),  # done twice
        (3, ("lease_expired", "done")),  # of a token that the task never had
    ],
)
def test_a_stale_result_is_seen(token: int, outcomes: tuple[str, str]) -> None:
    """Whatever the way a write of the wrong attempt came into the row."""
    attempts = [attempt(place + 1, outcome) for place, outcome in enumerate(outcomes)]

    assert books.stale_results(kept(row("t", token=token), attempts=attempts)) == ["t"]


def test_files_of_two_attempts_are_a_stale_result() -> None:
    """A mask of one attempt beside the manifest of another is nobody's result."""
    mixed = {**row("t", token=2), "mask_image_url": f"results/{USER}/t/1/mask.png"}

    assert books.stale_results(kept(mixed, attempts=[attempt(2, "done")])) == ["t"]


def test_a_cancelled_row_that_shows_a_result_is_seen() -> None:
    """Only what is done may show something."""
    shown = {**row("t", token=1), "status": "cancelled"}

    assert books.stale_results(kept(shown, attempts=[attempt(1, "cancelled")])) == ["t"]


@pytest.mark.parametrize(
    "actions",
    [
        ("hold",),
        ("hold", "capture", "capture"),
        ("hold", "capture", "release"),
        ("hold", "hold", "capture"),
        ("capture",),
        ("hold", "release"),  # done, and not paid
    ],
)
def test_a_wrong_settlement_is_seen(actions: tuple[str, ...]) -> None:
    """Missing, double, of both kinds, or not what the status says."""
    found = kept(row("t", token=1), attempts=[attempt(1, "done")], actions=actions)

    assert books.unsettled(found, [job("t")]) == ["t"]


def test_a_right_settlement_is_let_pass() -> None:
    """One hold, one capture of all of it."""
    found = kept(row("t", token=1), attempts=[attempt(1, "done")], actions=("hold", "capture"))

    assert books.unsettled(found, [job("t")]) == []


def test_lost_jobs_are_seen() -> None:
    """A job without a row, one that never ended, and a row that nobody asked for."""
    found = kept(row("t", token=1, status="pending"), attempts=[])

    assert books.lost(found, [job("t"), job("gone")]) == ["t", "gone"]
    assert books.lost(found, [job("gone", deleted=True)]) == ["t"]


def test_two_accepted_completions_are_seen() -> None:
    """Also when the row ends up looking right."""
    found = kept(row("t", token=2), attempts=[attempt(1, "lease_expired"), attempt(2, "done")])

    assert books.done_twice(found, [1, 2]) == ["t"]
    assert books.done_twice(found, [2]) == []
    assert books.contradicted(found, [1]) == ["t"]


def test_an_answer_fits_its_own_question_only() -> None:
    """Other words or another picture give another score, so a swapped manifest is recognised."""
    asked = pipeline.PredictRequest(prompts=(prompts.Prompt(id="p0", text="usual 1 0"),))
    found = fake_gpu.answer(b"picture", asked).prompts[0].instances[0].score

    assert found == fake_gpu.score(b"picture", "usual 1 0")
    assert found != fake_gpu.score(b"picture", "usual 2 0")
    assert found != fake_gpu.score(b"another", "usual 1 0")


async def test_the_negative_control_fits_the_function_of_today(
    db: psycopg.AsyncConnection[Any],
) -> None:
    """The fence is where the control takes it out; a rewritten function must be looked at again."""
    cursor = await db.execute(
        "select pg_get_functiondef(oid) from pg_proc"
        " where proname = 'complete_task' and pronamespace = 'segmentation'::regnamespace"
    )
    found = await cursor.fetchone()
    assert found is not None
    async with db.transaction(force_rollback=True):
        await db.execute(unfenced.without_fence(found[0]).encode())

    with pytest.raises(unfenced.ControlOutdatedError):
        unfenced.without_fence("no such thing")
