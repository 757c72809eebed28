"""Other thresholds for a stored result: no GPU, no queue, nothing charged."""

import gzip
import json
import os
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from process_table import gone
from task_queue import until
from typing_extensions import override

from adapters import objects
from api import rethresholding
from api.problems import Problem
from s3_sam3.contracts import manifest
from s3_sam3.contracts.bodies import RethresholdRequest
from s3_sam3.contracts.prompts import SegmentOptions
from s3_sam3.imaging import rle
from s3_sam3.imaging.choose import Found, choose


Draw = Callable[..., bytes]
Done = Callable[[], Awaitable[str]]

WIDTH, HEIGHT = 64, 48
OPTIONS = SegmentOptions(threshold=0.5, floor=0.2)


def square(left: int, top: int, side: int, score: float) -> manifest.Candidate:
    """A square that was found."""
    columns = np.zeros((1, WIDTH, HEIGHT), np.uint8)
    columns[0, left : left + side, top : top + side] = 1
    [(mask, area)] = rle.encode(columns)
    box = (float(left), float(top), float(left + side), float(top + side))
    return manifest.Candidate(score=score, box=box, area=area, rle=mask)


def found(name: str, *candidates: manifest.Candidate) -> Found:
    """The result of a prompt."""
    return Found(
        id=name, text=name, presence=1, threshold=None, more=False, candidates=tuple(candidates)
    )


MANIFEST = manifest.Manifest(
    image=manifest.ImageSize(width=WIDTH, height=HEIGHT),
    model=manifest.ModelInfo(
        name="fake", revision="0", dtype="float32", device="cpu", code_version="0", demo=True
    ),
    timings=manifest.Timings(decode_ms=1, model_ms=2, post_ms=3, total_ms=6),
    options=OPTIONS,
    prompts=choose(
        [
            found("cat", square(0, 0, 10, 0.9), square(20, 0, 8, 0.6), square(40, 0, 6, 0.3)),
            found("dog", square(0, 20, 10, 0.7), square(21, 0, 8, 0.55)),
        ],
        OPTIONS,
    ),
)
"""Cat: two instances and a candidate. Dog: two instances, one nearly where the second cat is."""

CASES: list[tuple[dict[str, Any], list[int]]] = [
    ({}, [2, 2]),
    ({"threshold": 0.25}, [3, 2]),
    ({"threshold": 0.65}, [1, 1]),
    ({"thresholds": {"cat": 0.25}}, [3, 2]),
    ({"thresholds": {"dog": 0.95}}, [2, 0]),
    ({"max_instances": 1}, [1, 1]),
    ({"min_area": 65}, [1, 1]),
    ({"nms": 0.5}, [2, 1]),
]


@pytest.fixture
async def done(caller: Any, draw: Draw, worker: Any) -> str:
    """A task of the caller that is done, with that manifest."""
    task = str((await caller.submit(await caller.upload(draw()))).data["task_id"])
    await worker.complete(await worker.claim(task), MANIFEST.model_dump_json().encode())
    return task


def path(task: str) -> str:
    """The address of a re-threshold."""
    return f"/api/v1/results/{task}/rethreshold"


async def rethreshold(caller: Any, task: str, **body: Any) -> Any:
    """Ask for a re-threshold."""
    return await caller.ask("POST", path(task), json=body)


async def test_each_option_is_applied(caller: Any, done: str) -> None:
    """Each option decides which candidates are instances; absent ones stay as in the task."""
    for body, counts in CASES:
        reply = await rethreshold(caller, done, **body)
        assert reply.status == 200, reply.envelope
        assert reply.data["task_id"] == done
        decided = manifest.Manifest.model_validate(reply.data["manifest"])
        assert [len(prompt.instances) for prompt in decided.prompts] == counts, body


async def test_a_rethreshold_changes_and_costs_nothing(caller: Any, done: str) -> None:
    """Row, balance and ledger are as before, so the next re-threshold starts from the same."""
    before = (await caller.ask("GET", f"/api/v1/results/{done}")).data, await caller.ledger()

    await rethreshold(caller, done, threshold=0.9)
    again = await rethreshold(caller, done)

    after = (await caller.ask("GET", f"/api/v1/results/{done}")).data, await caller.ledger()
    urls = [name for name in before[0] if name.endswith("_download_url")]
    for seen in (before[0], after[0]):
        for name in urls:
            seen.pop(name)
    assert after == before
    assert manifest.Manifest.model_validate(again.data["manifest"]).prompts == MANIFEST.prompts


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"threshold": 0.1}, "0.2"),
        ({"thresholds": {"cat": 0.1}}, "0.2"),
        ({"thresholds": {"cow": 0.5}}, "cow"),
    ],
)
async def test_what_the_manifest_does_not_hold_is_refused(
    caller: Any, done: str, body: dict[str, Any], word: str
) -> None:
    """Below the floor nothing was kept, and no prompt has that name: the reason says so."""
    reply = await rethreshold(caller, done, **body)

    assert (reply.status, reply.code) == (400, "invalid_request")
    assert word in reply.envelope["error"]["details"]["reason"]


@pytest.mark.parametrize(
    ("raw", "code", "field"),
    [
        (b"", "empty_body", None),
        (b"[]", "invalid_request", ""),
        (b'{"treshold": 0.4}', "invalid_request", "treshold"),
        (b'{"nms": 0}', "invalid_request", "nms"),
        (b'{"thresholds": {"cat": 2}}', "invalid_request", "thresholds.cat"),
        (b'{"thresholds": {"cat": NaN}}', "invalid_request", "thresholds.cat"),
        (b'{"tiles": 2}', "invalid_request", "tiles"),
    ],
)
async def test_a_bad_body_is_refused(caller: Any, raw: bytes, code: str, field: str | None) -> None:
    """Each wrong field is named, before anything is read."""
    reply = await caller.ask("POST", path(str(uuid4())), data=raw)

    assert reply.code == code
    if field is not None:
        assert [fault["field"] for fault in reply.envelope["error"]["details"]["fields"]] == [field]


async def test_a_task_that_is_not_done_has_no_result(caller: Any, draw: Draw) -> None:
    """409 with the status: first pending, then cancelled."""
    task = (await caller.submit(await caller.upload(draw()))).data["task_id"]
    waiting = await rethreshold(caller, task)
    await caller.ask("DELETE", f"/api/v1/tasks/{task}")
    ended = await rethreshold(caller, task)

    assert [(reply.status, reply.code) for reply in (waiting, ended)] == [(409, "not_done")] * 2
    told = [reply.envelope["error"]["details"]["status"] for reply in (waiting, ended)]
    assert told == ["pending", "cancelled"]


async def test_another_users_result_is_not_there(
    new_caller: Callable[[], Awaitable[Any]], nobody: Any, done: str
) -> None:
    """Another user's result and a missing one get the same answer; without a token it is 401."""
    stranger = await rethreshold(await new_caller(), done)
    unknown = await rethreshold(await new_caller(), str(uuid4()))
    anonymous = await rethreshold(nobody, done)

    assert stranger.envelope["error"] == unknown.envelope["error"]
    assert (stranger.code, anonymous.code) == ("not_found", "unauthenticated")


async def test_a_manifest_that_is_gone_is_not_found(caller: Any, done: str, worker: Any) -> None:
    """Its objects may be deleted after the row was read."""
    async for page in worker.store.pages(f"results/{caller.user.id}/{done}/"):
        await worker.store.delete_many([item.key for item in page])

    assert (await rethreshold(caller, done)).code == "not_found"


async def test_a_manifest_that_is_none_is_our_fault(caller: Any, draw: Draw, worker: Any) -> None:
    """What cannot be read ends one child; the next request has another."""
    task = (await caller.submit(await caller.upload(draw()))).data["task_id"]
    await worker.complete(await worker.claim(task), b"no manifest")

    assert [(await rethreshold(caller, task)).code for _ in range(3)] == ["internal"] * 3


@pytest.mark.parametrize(
    ("accepted", "coding", "unpacked"),
    [("gzip", "gzip", gzip.decompress), ("deflate", "deflate", zlib.decompress), ("", None, bytes)],
)
async def test_the_answer_is_compressed_for_who_takes_that(
    caller: Any, done: str, accepted: str, coding: str | None, unpacked: Callable[[bytes], bytes]
) -> None:
    """Run lengths are text; the envelope inside is the same for everybody."""
    headers = {"Authorization": f"Bearer {caller.user.access_token}", "Accept-Encoding": accepted}
    async with caller.http.post(
        path(done), json={}, headers=headers, auto_decompress=False
    ) as answer:
        raw = await answer.read()

    assert answer.headers.get("Content-Encoding") == coding
    envelope = json.loads(unpacked(raw))
    assert envelope.keys() == {"success", "data", "error", "meta"}
    assert manifest.Manifest.model_validate(envelope["data"]["manifest"]).prompts


class Crowded(objects.ObjectStore):
    """A store whose manifests are all over the limit."""

    def __init__(self) -> None:
        """Open nothing."""

    @override
    async def get(self, key: str, *, max_bytes: int | None = None) -> bytes:
        assert max_bytes == rethresholding.MAX_MANIFEST_BYTES
        raise objects.ObjectTooLarge(key)


@pytest.fixture
async def rethresholder() -> AsyncIterator[rethresholding.Rethresholder]:
    """A pool of its own, with its first child started."""
    async with rethresholding.Rethresholder() as one:
        yield one


async def test_a_manifest_over_the_limit_is_not_read(
    rethresholder: rethresholding.Rethresholder,
) -> None:
    """A manifest over the limit is refused before it takes memory."""
    with pytest.raises(Problem) as refusal:
        await rethresholder.rethreshold(Crowded(), "key", uuid4(), RethresholdRequest())

    assert refusal.value.code == "file_too_large"


def environment_of(process: int) -> bytes:
    """What the kernel shows of a process's environment."""
    return Path(f"/proc/{process}/environ").read_bytes()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root sees what a child holds")
async def test_the_child_holds_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of a child that reads manifests holds the search path and no secret."""
    monkeypatch.setenv("R2_SECRET_ACCESS_KEY", "a-secret")
    async with rethresholding.Rethresholder() as one:
        pids = one.pids
        # The kernel has it only when the program is loaded.
        await until(lambda: environment_of(pids[0]))
        environ = environment_of(pids[0])

    assert b"PATH=" in environ
    assert b"a-secret" not in environ
    assert gone(pids, 10)
