"""Users who submit, cancel and delete, and who try again when nobody answers."""

import asyncio
import random
import secrets
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp

from adapters.rest import RestRefused, RestUnavailable
from bench.chaos.plan import Plan
from bench.chaos.stage import Stage
from s3_sam3.contracts import object_keys


PICTURES: Final = 6
"""Of each user, so that several of their jobs often wait for the same one."""

TIERS: Final = ("free", "free", "free", "pro", "internal")
FATES: Final = {"usual": 82, "slow": 4, "flaky": 5, "bad": 4, "silent": 3, "oom": 1, "big": 2}
HALF_WAY: Final = 0.004
"""Share of the jobs, and five at least, that are cancelled when some of it is computed."""
PATIENCE_SECONDS: Final = 600.0
CANCELLED, DELETED, HURRIED, TWICE = 0.06, 0.02, 0.02, 0.05


@dataclass(slots=True, kw_only=True)
class Job:
    """What was asked for."""

    user: str
    picture: str
    texts: list[str]
    task_id: str | None = None
    deleted: bool = False
    half_way: bool = False
    """To be cancelled when some of it is computed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A signed-up user with pictures in the store."""

    id: str
    token: str
    pictures: list[str]


@dataclass(slots=True)
class Users:
    """All users, and what they asked for."""

    stage: Stage
    plan: Plan
    jobs: list[Job] = field(default_factory=list)
    told: Counter[str] = field(default_factory=Counter)
    """What happened to their requests."""
    content: dict[str, bytes] = field(default_factory=dict)
    """Key of a picture -> its bytes."""
    _users: list[User] = field(default_factory=list)
    _later: list[asyncio.Task[None]] = field(default_factory=list)

    async def arrive(self) -> None:
        """Sign everybody up, with credits and pictures."""
        for number in range(self.plan.users):
            self._users.append(await self._user(TIERS[number % len(TIERS)]))

    async def submit_all(self) -> None:
        """Submit every job, in bursts, never more at once than the plan lets wait."""
        while len(self.jobs) < self.plan.jobs:
            if len(self.jobs) - self.ended() > self.plan.waiting:
                await asyncio.sleep(0.05)
                continue
            user = random.choice(self._users)
            room = self.plan.jobs - len(self.jobs)
            burst = [self._new_job(user) for _ in range(min(room, random.randint(1, 6)))]
            await asyncio.gather(*(self._submit(user, job) for job in burst))

    async def leave(self) -> None:
        """Wait until every cancel and delete has been answered."""
        await asyncio.gather(*self._later)

    async def vanish(self) -> None:
        """Forget what was still to be asked."""
        for task in self._later:
            task.cancel()
        await asyncio.gather(*self._later, return_exceptions=True)

    def ended(self) -> int:
        """Jobs that are final, at the last look, or deleted."""
        return self.stage.observer.tally.final + sum(job.deleted for job in self.jobs)

    def _new_job(self, user: User) -> Job:
        fate = random.choices(list(FATES), list(FATES.values()))[0]
        number = len(self.jobs)
        # Some at the start, so that a short run has them too.
        half_way = number < 5 or random.random() < HALF_WAY
        if half_way:
            fate = "slow"
        count = 3 if half_way else random.randint(1, 3)
        texts = [f"{fate} {number} {place}" for place in range(count)]
        job = Job(
            user=user.id, picture=random.choice(user.pictures), texts=texts, half_way=half_way
        )
        self.jobs.append(job)
        return job

    async def _submit(self, user: User, job: Job) -> None:
        asked: dict[str, Any] = {
            "p_source_image_url": job.picture,
            "p_prompts": [{"text": text} for text in job.texts],
            "p_idempotency_key": f"{secrets.token_hex(8)}",
        }
        if random.random() < HURRIED and not job.half_way:
            asked["p_deadline_seconds"] = random.randint(1, 4)
        times = 2 if random.random() < TWICE else 1
        self.told["submitted twice at once"] += times - 1
        answers = await asyncio.gather(
            *(self._insist("submit_task", asked, user) for _ in range(times))
        )
        ids = {answer["task"]["id"] for answer in answers}
        self.told["replayed"] += sum(answer["replayed"] for answer in answers)
        self.told["two jobs for one key"] += len(ids) - 1
        job.task_id = ids.pop()
        if job.half_way:
            self._do_later(0, lambda: self._cancel_half_way(user, job))
        elif random.random() < CANCELLED:
            self._do_later(random.uniform(0, 4), lambda: self._cancel(user, job))
        elif random.random() < DELETED:
            self._do_later(random.uniform(2, 12), lambda: self._delete(user, job))

    def _do_later(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        async def later() -> None:
            await asyncio.sleep(seconds)
            await work()

        self._later.append(asyncio.create_task(later()))

    async def _cancel_half_way(self, user: User, job: Job) -> None:
        """Look until some of it is computed, or it is over; and withdraw it."""

        async def some_is_computed() -> bool:
            rows = await self.stage.observer.rows(
                "select computed, finished_at from public.segmentation_results where id = %s",
                job.task_id,
            )
            return any(row["computed"] > 0 or row["finished_at"] is not None for row in rows)

        await self.stage.observer.until(some_is_computed, PATIENCE_SECONDS)
        await self._cancel(user, job)

    async def _cancel(self, user: User, job: Job) -> None:
        answer = await self._insist("cancel_task", {"p_id": job.task_id}, user)
        self.told[f"cancel: {answer}"] += 1

    async def _delete(self, user: User, job: Job) -> None:
        try:
            await self._insist("delete_result", {"p_id": job.task_id}, user)
        except RestRefused as error:
            # Its answer got lost with a restart, and the row is gone already.
            if error.status != 404:
                raise
        job.deleted = True
        self.told["deleted"] += 1

    async def _insist(self, function: str, asked: dict[str, Any], user: User) -> Any:
        """Call until there is an answer. Raises: RestRefused, for anything but "later"."""
        while True:
            try:
                return await self.stage.rest.rpc(function, asked, user.token)
            except RestUnavailable:
                self.told["tried again"] += 1
                await asyncio.sleep(random.uniform(0.1, 0.5))
            except RestRefused as error:
                if error.status != 429:
                    raise
                self.told["told to wait"] += 1
                await asyncio.sleep(0.5)

    async def _user(self, tier: str) -> User:
        body = {"email": f"{secrets.token_hex(8)}@example.com", "password": secrets.token_hex(8)}
        async with (
            aiohttp.ClientSession(headers={"apikey": self.stage.stack.anon_key}) as http,
            http.post(f"{self.stage.stack.url}/auth/v1/signup", json=body) as answer,
        ):
            answer.raise_for_status()
            signed_up = await answer.json()
        user_id = signed_up["user"]["id"]
        await self.stage.operate("set_user_tier", p_user_id=user_id, p_tier=tier)
        await self.stage.operate(
            "top_up_credits", p_user_id=user_id, p_credits=self.plan.jobs * 3, p_event_id=user_id
        )
        return User(
            id=user_id,
            token=signed_up["access_token"],
            pictures=[await self._picture(user_id) for _ in range(PICTURES)],
        )

    async def _picture(self, user_id: str) -> str:
        key = object_keys.upload_key(uuid.UUID(user_id), secrets.token_hex(32), "png")
        self.content[key] = secrets.token_bytes(200)
        await self.stage.store.put(key, self.content[key], "image/png")
        return key
