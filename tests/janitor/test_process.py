"""`python -m janitor` and `s3 janitor` as an operator meets them."""

import asyncio
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from janitors import QUICK, Platform, Spawn, until

from devstack.testing import SignedUpUser


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A command that ended."""

    code: int
    out: str
    err: str

    @property
    def answer(self) -> Any:
        """Its JSON."""
        return json.loads(self.out)


Run = Callable[..., Any]


@pytest.fixture
def run(environment: Callable[..., dict[str, str]]) -> Run:
    """Run a module of ours to its end, with environment changes by keyword."""

    async def run(module: str, *arguments: str, **changed: str) -> Ended:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", module, *arguments),
            env=environment(**changed),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        return Ended(code=process.returncode or 0, out=out.decode(), err=err.decode())

    return run


@pytest.mark.parametrize(
    "name", ["SUPABASE_URL", "SUPABASE_SERVICE_KEY", "R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY"]
)
async def test_without_a_key_it_does_not_start(run: Run, name: str) -> None:
    """A missing setting is one sentence that names it, and exit 78."""
    ended = await run("janitor", **{name: ""})

    assert ended.code == 78
    assert name in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("wrong", ["R2_SECRET_ACCESS_KEY", "R2_BUCKET", "SUPABASE_SERVICE_KEY"])
async def test_a_wrong_key_is_told_at_the_start(platform: Platform, run: Run, wrong: str) -> None:
    """A key that is refused ends the process with 78; so does the anon key as service key."""
    value = platform.stack.anon_key if wrong == "SUPABASE_SERVICE_KEY" else "no-such-thing"

    ended = await run("janitor", **{wrong: value})

    assert ended.code == 78, ended.err
    assert "refuses" in ended.err
    assert value not in ended.err


async def test_a_stop_is_clean(platform: Platform, spawn: Spawn) -> None:
    """SIGTERM ends it with 0, and the last line holds the state."""
    janitor = await spawn()
    await until(lambda: janitor.said("janitor_started"))

    janitor.process.terminate()

    assert await janitor.process.wait() == 0
    await until(lambda: janitor.said("janitor_stopped"))
    assert janitor.said("janitor_stopped")[0]["state"]["status"] == "ok"


async def test_nothing_it_logs_is_a_secret(platform: Platform, spawn: Spawn) -> None:
    """Neither key is in the log."""
    janitor = await spawn()
    await until(lambda: janitor.said("bucket_swept"))
    janitor.process.terminate()
    await janitor.process.wait()

    said = json.dumps(janitor.lines) + "".join(janitor.other)
    assert platform.stack.service_key not in said
    assert platform.stack.r2_secret_access_key not in said


async def test_several_janitors_are_harmless(
    platform: Platform, user: SignedUpUser, stranger: SignedUpUser, spawn: Spawn
) -> None:
    """Four at once, sweeping too, delete each thing once and nothing else."""
    tasks = [await platform.done_task(user) for _ in range(6)]
    await platform.done_task(stranger)
    unused = await platform.upload(stranger, "1")
    expected = (await platform.keys(stranger)) - {unused}
    quick = {**QUICK, "sweep": 0.3, "prune": 0.1, "ledger": 0.1}
    janitors = [await spawn(quick, "sweep") for _ in range(4)]
    await until(lambda: all(janitor.said("bucket_swept") for janitor in janitors), seconds=60)

    for task_id in tasks:
        await platform.delete_result(user, task_id)
    await platform.rows("delete from auth.users where id = %s", user.id)
    await until(platform.outbox_is_empty)

    async def all_gone() -> bool:
        return await platform.keys() == expected

    await until(all_gone)
    lines = [line for janitor in janitors for line in janitor.lines]
    assert [line for line in lines if line["level"] == "error"] == []
    assert [janitor.process.returncode for janitor in janitors] == [None] * 4


async def test_a_mismatch_is_logged_and_shown(
    platform: Platform, user: SignedUpUser, spawn: Spawn
) -> None:
    """A wrong balance is an error line with its user, and `GET /health` has it."""
    await platform.rows("update users_profile set credits = credits + 1 where id = %s", user.id)
    janitor = await spawn(JANITOR_PORT="0")
    await until(lambda: janitor.said("ledger_mismatch"))

    url = janitor.said("state_served")[0]["url"]
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        shown = await answer.json()

    (line,) = janitor.said("ledger_mismatch")
    assert (line["level"], line["user_id"]) == ("error", user.id)
    assert shown["status"] == "wrong"
    assert shown["ledger_mismatches"][0]["user_id"] == user.id


async def test_the_ledger_command_tells_right_from_wrong(
    platform: Platform, user: SignedUpUser, run: Run
) -> None:
    """`s3 janitor ledger` ends with 0 while the books are right and with 1 when they are not."""
    right = await run("s3_sam3.cli", "janitor", "ledger")
    await platform.rows("update users_profile set credits = credits + 1 where id = %s", user.id)
    wrong = await run("s3_sam3.cli", "janitor", "ledger")
    as_json = await run("s3_sam3.cli", "janitor", "ledger", "--json")

    assert (right.code, wrong.code, as_json.code) == (0, 1, 1)
    assert user.id in wrong.out
    assert as_json.answer["mismatches"][0]["user_id"] == user.id


async def test_the_sweep_command_plans_first(
    platform: Platform, user: SignedUpUser, run: Run
) -> None:
    """`s3 janitor sweep` shows a table and deletes nothing; with --yes it deletes."""
    unused = await platform.upload(user)

    young = await run("s3_sam3.cli", "janitor", "sweep", "--json")
    planned = await run("s3_sam3.cli", "janitor", "sweep", "--older-than", "0s")
    still_there = await platform.keys()
    done = await run("s3_sam3.cli", "janitor", "sweep", "--older-than", "0s", "--yes", "--json")

    assert (young.code, planned.code, done.code) == (0, 0, 0), planned.err
    assert young.answer["orphans"] == 0
    assert unused in planned.out
    assert "--yes" in planned.err
    assert still_there == {unused}
    assert (done.answer["orphans"], done.answer["deleted"]) == (1, 1)
    assert await platform.keys() == set()


async def test_the_sweep_command_tells_of_a_missing_manifest(
    platform: Platform, user: SignedUpUser, run: Run
) -> None:
    """A done row without its manifest makes it exit 1 and name the key."""
    await platform.done_task(user)
    (row,) = await platform.rows("select manifest_url from segmentation_results")
    await platform.bucket.delete(row["manifest_url"])

    ended = await run("s3_sam3.cli", "janitor", "sweep")

    assert ended.code == 1
    assert row["manifest_url"] in ended.err


@pytest.mark.parametrize(
    ("arguments", "changed", "code"),
    [
        (["sweep", "--older-than", "long"], {}, 2),
        (["sweep", "--limit", "0"], {}, 2),
        (["sweep"], {"R2_ENDPOINT": "http://127.0.0.1:9"}, 4),
        (["ledger"], {"SUPABASE_URL": "http://127.0.0.1:9"}, 4),
        (["ledger"], {"SUPABASE_SERVICE_KEY": ""}, 78),
    ],
)
async def test_what_went_wrong_is_in_the_exit_code(
    platform: Platform, run: Run, arguments: list[str], changed: dict[str, str], code: int
) -> None:
    """Usage, unreachable and configuration are told apart, without a traceback."""
    ended = await run("s3_sam3.cli", "janitor", *arguments, **changed)

    assert ended.code == code, ended.err
    assert ended.out == ""
    assert "Traceback" not in ended.err
