"""The audit of rows, attempts and ledger: every job has one end, one settlement, one winner."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from psycopg.rows import DictRow

from bench.chaos.observer import Observer
from bench.chaos.users import Job


FINAL: Final = frozenset({"done", "failed", "cancelled"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """Everything that the database says at the end."""

    rows: dict[str, DictRow]
    """Task -> its row."""
    attempts: dict[str, list[DictRow]]
    """Task -> its attempts, oldest first."""
    ledger: dict[str, Counter[str]]
    """Task -> action -> credits."""
    entries: dict[str, Counter[str]]
    """Task -> action -> ledger rows."""
    mismatches: list[DictRow]
    """Of segmentation.ledger_mismatches()."""

    def owner_of(self, token: int) -> str | None:
        """The task that *token* was given for; None: it is deleted."""
        return next(
            (
                task
                for task, attempts in self.attempts.items()
                if any(attempt["token"] == token for attempt in attempts)
            ),
            None,
        )


async def read(observer: Observer) -> Books:
    """Read everything."""
    rows = await observer.rows("select * from public.segmentation_results")
    attempts: dict[str, list[DictRow]] = defaultdict(list)
    for row in await observer.rows("select * from segmentation.attempts order by token"):
        attempts[str(row["result_id"])].append(row)
    ledger: dict[str, Counter[str]] = defaultdict(Counter)
    entries: dict[str, Counter[str]] = defaultdict(Counter)
    for row in await observer.rows(
        "select result_id, action::text, credits_used from public.usage_logs"
        " where result_id is not null"
    ):
        ledger[str(row["result_id"])][row["action"]] += row["credits_used"]
        entries[str(row["result_id"])][row["action"]] += 1
    return Books(
        rows={str(row["id"]): row for row in rows},
        attempts=attempts,
        ledger=ledger,
        entries=entries,
        mismatches=await observer.rows("select * from segmentation.ledger_mismatches()"),
    )


def lost(books: Books, jobs: Iterable[Job]) -> list[str]:
    """Jobs without a final row, and rows that nobody asked for."""
    asked = {str(job.task_id): job for job in jobs}
    missing = [
        task
        for task, job in asked.items()
        if not job.deleted and (task not in books.rows or books.rows[task]["status"] not in FINAL)
    ]
    return missing + [task for task in books.rows if task not in asked]


def open_attempts(books: Books) -> list[str]:
    """Tasks that somebody still seems to work on."""
    return [
        task
        for task, attempts in books.attempts.items()
        if any(attempt["ended_at"] is None for attempt in attempts)
    ]


def unsettled(books: Books, jobs: Iterable[Job]) -> list[str]:
    """Jobs whose hold was not given or spent exactly once and to the last credit."""
    asked = {str(job.task_id): len(job.texts) for job in jobs}
    wrong = [task for task, cost in asked.items() if not _settled(books, task, cost)]
    return wrong + [task for task in books.ledger if task not in asked]


def _settled(books: Books, task: str, cost: int) -> bool:
    credits, entries, row = books.ledger[task], books.entries[task], books.rows.get(task)  # noqa: A001
    once = entries["hold"] == 1 and entries["capture"] + entries["release"] == 1
    whole = (
        credits["hold"]
        == cost
        == sum(credits[action] for action in ("capture", "release", "remainder"))
    )
    spent = credits["capture"]
    as_told = row is None or row["charged"] == spent
    done_is_paid = row is None or row["status"] != "done" or spent == cost
    return once and whole and as_told and done_is_paid and entries["refund"] == 0


def settled_in_part(books: Books) -> list[str]:
    """Tasks that cost something and gave something back: cancelled when some was computed."""
    return [
        task
        for task, entries in books.entries.items()
        if entries["capture"] == entries["remainder"] == 1
    ]


def climbed(books: Books) -> list[str]:
    """Done tasks that had run out of memory before, on a smaller machine."""
    return [
        task
        for task, row in books.rows.items()
        if row["status"] == "done"
        and any(one["error_code"] == "out_of_memory" for one in books.attempts[task])
    ]


def winner(row: DictRow) -> int | None:
    """The token under which a done row's objects lie; None: they do not lie where they must."""
    prefix = f"results/{row['user_id']}/{row['id']}/"
    keys = [row["manifest_url"], row["mask_image_url"], row["overlay_image_url"]]
    tokens = {
        found[1] for key in keys if (found := re.match(re.escape(prefix) + r"(\d+)/", key or ""))
    }
    return int(tokens.pop()) if len(tokens) == 1 and all(keys) else None


def stale_results(books: Books) -> list[str]:
    """
    Done rows whose result is not of the one attempt that ended `done`, which is the last one.

    Nobody could be given a task that is done, so an attempt after the winner's shows that the
    winner had lost the task when it wrote. A row that is not done shows no result at all.
    """
    return [task for task, row in books.rows.items() if not _from_the_last(books, task, row)]


def _from_the_last(books: Books, task: str, row: DictRow) -> bool:
    if row["status"] != "done":
        return row["manifest_url"] is None
    attempts: list[dict[str, Any]] = books.attempts[task]
    done = [attempt["token"] for attempt in attempts if attempt["outcome"] == "done"]
    return bool(attempts) and done == [winner(row)] == [attempts[-1]["token"]]


def done_twice(books: Books, accepted: Iterable[int]) -> list[str]:
    """Tasks of which the database accepted more than one completion, of any token."""
    owners = {attempt["token"]: task for task, tries in books.attempts.items() for attempt in tries}
    times = Counter(owners[token] for token in accepted if token in owners)
    return [task for task, count in times.items() if count > 1]


def contradicted(books: Books, accepted: Iterable[int]) -> list[str]:
    """Tasks whose accepted completion is not what the row shows."""
    return [
        task
        for token in accepted
        if (task := books.owner_of(token)) is not None and winner(books.rows[task]) != token
    ]
