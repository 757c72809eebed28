"""
Who is served when: five tasks behind two thousand, and three tiers beside each other.

Every task comes through `submit_task` in its user's name, and every claim takes one.
"""

import json
from collections import Counter

from psycopg.types.json import Jsonb
from rich.table import Table

from bench import report
from bench.queue import contenders, filling
from bench.queue.server import Connection, Server, connected


FEW = 5
WITHIN = 12
TIERS = ("free", "pro", "internal")

BACKLOG = 400
"""Tasks of each tier's user."""

COUNTED_CLAIMS = 270
"""Of the three tiers together; nobody's backlog ends in it: 4 in 9 of them are 120."""


async def small_behind_large(
    server: Server, *, many: int, small: str = "internal", large: str = "internal"
) -> list[int]:
    """At which claims the five tasks of the *small* user are served, behind *many* of the other."""
    dsn = await server.copy("fairness")
    async with connected(dsn) as db:
        (giant,) = (await filling.crowd(db, users=1, tier=large)).ids
        (dwarf,) = (await filling.crowd(db, users=1, tier=small)).ids
        await _submit(db, giant, many)
        async with contenders.ours(dsn, 1, lean=True) as queue:
            # The large one has been served for a while: virtual time is not at its beginning.
            for _ in range(10):
                await queue.complete((await queue.claim(1))[0])
            await _submit(db, dwarf, FEW)
            return await _served(queue, dwarf, FEW)


async def shares(server: Server) -> dict[str, int]:
    """How many of some claims each tier's user gets, once all head starts are used up."""
    dsn = await server.copy("fairness")
    async with connected(dsn) as db:
        owners = {(await filling.crowd(db, users=1, tier=tier)).ids[0]: tier for tier in TIERS}
        for owner in owners:
            await _submit(db, owner, BACKLOG)
        taken: Counter[str] = Counter(dict.fromkeys(TIERS, 0))
        async with contenders.ours(dsn, 1, lean=True) as queue:
            while sum(taken.values()) < COUNTED_CLAIMS:
                job = (await queue.claim(1))[0]
                await queue.complete(job)
                tier = owners[str(job["user_id"])]
                if taken["free"] or tier == "free":
                    taken[tier] += 1
        return dict(taken)


async def _served(queue: contenders.Contender, user: str, count: int) -> list[int]:
    """Claim one by one until *user* has been served *count* times; the claims' numbers, from 1."""
    served: list[int] = []
    number = 0
    while len(served) < count:
        number += 1
        job = (await queue.claim(1))[0]
        if str(job["user_id"]) == user:
            served.append(number)
        await queue.complete(job)
    return served


async def _submit(db: Connection, user: str, count: int) -> None:
    """Submit *count* tasks of one credit in the name of *user*."""
    claims = json.dumps({"sub": user, "role": "authenticated"})
    async with db.transaction():
        await db.execute(
            "select set_config('role', 'authenticated', true),"
            " set_config('request.jwt.claims', %s, true)",
            [claims],
        )
        async with db.pipeline():
            for number in range(count):
                await db.execute(
                    "select public.submit_task(%s, %s)",
                    [f"uploads/{user}/{number:064d}.png", Jsonb([{"text": "cat"}])],
                )


def target(served: list[int], many: int) -> report.Target:
    """
    The issue's number, between users of one tier.

    A higher tier's head start goes first by design: a free user's five wait until it is used up.
    """
    return report.Target(
        name=f"last of {FEW} tasks behind {many} of another user of the same tier",
        measured=served[-1],
        limit=WITHIN,
        unit="th claim",
    )


def table(served: dict[str, list[int]], taken: dict[str, int]) -> Table:
    """Where the few were served, and what the tiers got."""
    shown = Table(title="fairness", title_justify="left")
    shown.add_column("who")
    shown.add_column("served", justify="right")
    for who, numbers in served.items():
        shown.add_row(who, "claims " + ", ".join(map(str, numbers)))
    for tier, count in taken.items():
        shown.add_row(f"{tier}, all three waiting", f"{count / sum(taken.values()):.0%}")
    return shown
