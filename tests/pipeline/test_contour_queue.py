"""Masks that wait for tracing: bounded, moved off a full GPU, dropped when unwanted."""

import subprocess
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from threading import Event, Thread

import pytest
import torch
from fake_detector import ROW_BYTES, FakeDetector
from PIL import Image

from pipeline.errors import OutOfMemory, PipelineError, Withdrawn
from pipeline.model import contour_queue, postprocess
from pipeline.model.contour_queue import ContourQueue
from pipeline.model.postprocess import Kept, TracedView
from pipeline.model.sam3 import Sam3Segmenter
from pipeline.model.sam3_request import Sam3Request
from pipeline.model.segmentation_model import RequestContext, find
from pipeline.model.work_items import View
from s3_sam3.contracts.prompts import Prompt, SegmentOptions
from s3_sam3.imaging.choose import Found


ALL = SegmentOptions(floor=0)


def prepared(segmenter: Sam3Segmenter, prompts: int, name: str = "thing") -> Sam3Request:
    """A request about a small picture."""
    asked = tuple(Prompt(id=f"{name}{one}", text=f"{name} {one}") for one in range(prompts))
    return segmenter.prepare(Image.new("RGB", (96, 72)), asked, ALL, RequestContext())


def wide(mask_bytes: int) -> tuple[Sam3Segmenter, FakeDetector]:
    """SAM3's masks within a bound, and the detector behind it."""
    detector = FakeDetector()
    segmenter = Sam3Segmenter(detector=detector, chunk_bytes=2**20, mask_bytes=mask_bytes)
    return segmenter, detector


def grown(mask_bytes: int) -> int:
    """MiB that two requests of one prompt in five views, 660 MB of masks, take in a process."""
    child = Path(__file__).parents[1] / "mask_memory_child.py"
    root = str(Path(__file__).parents[2])
    asked = [sys.executable, str(child), str(mask_bytes)]
    done = subprocess.run(asked, capture_output=True, check=True, env={"PYTHONPATH": root})
    return int(done.stdout)


def test_masks_that_wait_take_no_more_than_their_setting() -> None:
    """
    Ten rows of 66 MB with 200 MB for them: the process stays far below them all.

    The side threads are late, so all of it waits on the model's. Negative control: without the
    bound it does not.
    """
    assert grown(200_000_000) < 500 < grown(2**40)


@pytest.mark.parametrize("mask_bytes", [1, 3 * ROW_BYTES])
def test_with_little_room_the_answers_are_the_same(mask_bytes: int) -> None:
    """
    Where the model's thread traces before it goes on, it finds the same as with room.

    Negative control: its passes are smaller.
    """
    answers, passes = [], []
    for most in (mask_bytes, 2**40):
        segmenter, detector = wide(most)
        find(segmenter, prepared(segmenter, 1))  # tells how large a row's masks are
        request = prepared(segmenter, 5)
        find(segmenter, request)
        answers.append(segmenter.trace(request))
        passes.append(max(detector.rows))
    assert answers[0] == answers[1]
    assert passes[0] < passes[1]


def test_memory_that_runs_out_moves_masks_of_closed_orders_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Masks of a request that the model is done with leave the GPU too, if they still wait.

    Negative control: one whose masks are traced has none to move.
    """
    moved: list[str] = []

    def on_cpu(kept: Kept) -> Kept:
        moved.append(kept.id)
        return kept

    monkeypatch.setattr(postprocess, "on_cpu", on_cpu)
    segmenter, detector = wide(2**40)
    done, waits = prepared(segmenter, 1, "done"), prepared(segmenter, 2, "waits")
    for request in (done, waits):
        find(segmenter, request)
    segmenter.trace(done)
    detector.most = 1
    find(segmenter, prepared(segmenter, 2, "new"))
    assert moved == ["waits0", "waits1"]


@pytest.mark.parametrize("end", [OutOfMemory, Withdrawn])
def test_unwanted_masks_are_dropped(end: type[PipelineError]) -> None:
    """
    Masks of a request that failed or was abandoned are dropped, not traced.

    Negative control: those of one that is wanted are traced.
    """
    segmenter, _ = wide(2**40)
    gone, stays = prepared(segmenter, 17), prepared(segmenter, 1)
    helped: list[contour_queue.ContourTrace] = []
    for request in (gone, stays):
        request.beside = helped.append  # type: ignore[assignment]
    segmenter.find([gone])
    if end is Withdrawn:
        gone.context.abandon()
    else:
        gone.close(end())
    find(segmenter, stays)
    for one in helped:
        one()
    assert segmenter.figures["mask_bytes"] == 0
    with pytest.raises(end):
        helped[0].result()
    assert len(helped[-1].result().found.candidates) == 200


@pytest.mark.parametrize(("leaves", "merged"), [(True, 2), (False, 3)])
def test_nobody_merges_for_a_caller_who_has_gone(
    monkeypatch: pytest.MonkeyPatch, *, leaves: bool, merged: int
) -> None:
    """
    One who leaves while the second of three prompts is merged: not the third.

    Negative control: for one who stays all three are.
    """
    segmenter, _ = wide(2**40)
    request, done = prepared(segmenter, 3), []
    request.beside = lambda work: work()
    find(segmenter, request)
    merge = postprocess.merged

    def leaving(views: Sequence[TracedView], options: SegmentOptions) -> Found:
        done.append(views[0].found.id)
        if leaves and len(done) == 2:
            request.context.abandon()
        return merge(views, options)

    monkeypatch.setattr(postprocess, "merged", leaving)
    with pytest.raises(Withdrawn) if leaves else nullcontext():
        segmenter.trace(request)
    assert len(done) == merged


def kept(rows: int = 1) -> Kept:
    """A few masks of four cells: 16 bytes each."""
    return Kept(
        id="a",
        text="a",
        presence=1,
        threshold=None,
        more=False,
        view=View(0, 0, 4, 4),
        scores=torch.ones(rows),
        boxes=torch.zeros(rows, 4),
        logits=torch.zeros(rows, 2, 2),
    )


def nothing(one: Kept) -> TracedView:
    """Trace nothing."""
    found = Found(
        id=one.id, text=one.text, presence=one.presence, threshold=None, more=False, candidates=()
    )
    return TracedView(view=one.view, found=found)


def test_the_model_waits_for_those_who_are_at_the_last_masks() -> None:
    """
    With all masks in others' hands it takes on nothing until one of them is done.

    Negative control: it is not done before.
    """
    room = ContourQueue(16)
    room.expect(torch.zeros(1, 2, 2))
    begun, go_on, cleared = Event(), Event(), Event()

    def slow(one: Kept) -> TracedView:
        begun.set()
        assert go_on.wait(20)
        return nothing(one)

    helper = Thread(target=room.add(kept(), slow))
    helper.start()
    assert begun.wait(20)
    model = Thread(target=lambda: (room.clear(1), cleared.set()))
    model.start()
    assert not cleared.is_set()
    go_on.set()
    assert cleared.wait(20)
    assert room.bytes == 0
    helper.join()
    model.join()


def test_masks_are_traced_once_by_any_thread() -> None:
    """A helper, the model and the one who wants the result: one of them does it."""
    room, done = ContourQueue(0), []

    def work(one: Kept) -> TracedView:
        done.append(one)
        return nothing(one)

    row = room.add(kept(), work)
    threads = [Thread(target=row) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert row.result().found.candidates == ()
    for thread in threads:
        thread.join()
    assert (len(done), room.bytes) == (1, 0)


def test_tracing_that_fails_frees_its_room_and_raises_at_the_result() -> None:
    """The thread that traced goes on; the one that wants the result gets a pipeline error."""
    room = ContourQueue(0)

    def work(_: Kept) -> TracedView:
        raise torch.OutOfMemoryError

    row = room.add(kept(), work)
    row()
    assert room.bytes == 0
    with pytest.raises(OutOfMemory) as caught:
        row.result()
    assert caught.value.__cause__ is None
