"""One run: jobs and faults together, then the audit."""

import asyncio
import contextlib
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from bench.chaos import books, bucket, stage, unfenced
from bench.chaos.faults import Faults
from bench.chaos.network import Fate
from bench.chaos.plan import Plan
from bench.chaos.users import Users


PARTIAL: Final = "settlements in part"
"""Must not be zero, or the run would prove nothing of partial captures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run did, and what it must not have done."""

    happened: dict[str, float]
    must_be_zero: dict[str, int]
    examples: dict[str, list[str]] = field(default_factory=dict)
    """Of each law that was broken, some tasks."""

    @property
    def wrong_results(self) -> int:
        """Results that a user would rightly complain about."""
        return (
            self.must_be_zero["results from stale attempts"]
            + self.must_be_zero["manifests that answer something else"]
        )


async def run(plan: Plan, *, fenced: bool = True) -> Outcome:
    """Run *plan* on a devstack of its own; jobs that never end are counted as lost."""
    async with stage.staged(plan) as scene:
        if not fenced:
            await unfenced.take_the_fence_out(scene.observer)
        users, faults = Users(scene, plan), Faults(scene, plan)
        await users.arrive()
        await stage.man(scene, plan)
        began = time.monotonic()
        watching = asyncio.create_task(scene.observer.watch(0.25))
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(users.submit_all())
                group.create_task(faults.happen(users.ended))
            await users.leave()
            await _dry(scene, plan)
        finally:
            await users.vanish()
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
        seconds = time.monotonic() - began
        outcome = await _audit(scene, users, faults, seconds)
        await scene.observer.close()
        return outcome


async def _dry(scene: stage.Stage, plan: Plan) -> None:
    """Wait until nothing is pending or in work, and no late write is on its way."""
    observer = scene.observer
    scene.network.calm = True

    async def nothing_lives() -> bool:
        return (await observer.look()).live == 0

    async def nothing_is_held() -> bool:
        return not books.open_attempts(await books.read(observer))

    await observer.until(nothing_lives, plan.dry_seconds)
    await scene.network.quiet()
    # A listener that died with its attempt open leaves that to the reaper.
    await observer.until(nothing_is_held, plan.lease_seconds * 4)


async def _audit(scene: stage.Stage, users: Users, faults: Faults, seconds: float) -> Outcome:
    await scene.fleet.stop()
    found = await books.read(scene.observer)
    tally = await scene.observer.look()
    accepted = scene.network.seen.accepted["complete_task"]
    wrong = await bucket.wrong_manifests(scene, found, users.content)
    swept = await bucket.sweep(scene, found)
    guilty = {
        "jobs lost": books.lost(found, users.jobs),
        "attempts left open": books.open_attempts(found),
        "results from stale attempts": books.stale_results(found),
        "manifests that answer something else": wrong,
        "accepted results that the row does not show": books.contradicted(found, accepted),
        "jobs done more than once": books.done_twice(found, accepted),
        "double or missing settlements": books.unsettled(found, users.jobs),
        "ledger mismatches": [str(row) for row in found.mismatches],
        "listeners that ended by themselves": [str(code) for code in scene.fleet.deaths],
    }
    counts = {
        "two jobs for one idempotency key": users.told["two jobs for one key"],
        "orphan objects after the sweep": swept.after,
        "deadlocks in PostgreSQL's log": len(scene.deadlocks()),
        "looks that saw a balance below zero": tally.in_debt,
        "looks that saw a user over the cap in flight": tally.over_cap,
    }
    return Outcome(
        happened=_happened(scene, users, faults, found, swept, seconds),
        must_be_zero={**{name: len(tasks) for name, tasks in guilty.items()}, **counts},
        examples={name: tasks[:5] for name, tasks in guilty.items() if tasks},
    )


def _happened(
    scene: stage.Stage,
    users: Users,
    faults: Faults,
    found: books.Books,
    swept: bucket.Swept,
    seconds: float,
) -> dict[str, Any]:
    seen = scene.network.seen
    statuses = Counter(f"jobs {row['status']}" for row in found.rows.values())
    answers: Counter[str] = Counter()
    for (_, answer), count in seen.answers.items():
        answers[f"settlements answered {answer}"] += count
    return {
        "jobs submitted": len(users.jobs),
        "seconds": round(seconds, 1),
        **dict(sorted(statuses.items())),
        "attempts": sum(map(len, found.attempts.values())),
        "most attempts open at once": scene.observer.tally.most_in_flight,
        "SIGKILLs": faults.done["listener SIGKILL"] + faults.done["GPU SIGKILL"],
        **dict(sorted(faults.done.items())),
        "listener processes": sum(slot.generation for slot in scene.fleet.listeners),
        **{f"settlements {fate}": count for fate, count in sorted(seen.fates.items())},
        **dict(sorted(answers.items())),
        "duplicate settlements sent": seen.fates[Fate.DOUBLED] + seen.fates[Fate.ECHOED],
        "stale writes refused": answers["settlements answered stale"],
        "hints doubled": seen.doubled_hints,
        "claims whose answer was lost": seen.lost_claims,
        **{f"users: {what}": count for what, count in sorted(users.told.items())},
        PARTIAL: len(books.settled_in_part(found)),
        "jobs done on a machine with more memory": len(books.climbed(found)),
        "orphan objects before the sweep": swept.before,
        "looks at the queue": scene.observer.tally.looks,
    }
