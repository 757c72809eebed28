"""Post-processing equals the stock one, in bounded memory."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.model import postprocess
from pipeline.model.fake_model import FakeSegmenter
from pipeline.model.work_items import View
from s3_sam3.contracts.bodies import RethresholdRequest
from s3_sam3.contracts.manifest import ImageSize, Manifest, PromptResult, Timings
from s3_sam3.contracts.prompts import SegmentOptions
from s3_sam3.imaging import rle
from s3_sam3.imaging.choose import rethreshold


CHUNK = 32 * 1024 * 1024


@cache
def blobs(count: int, cells: int = 288) -> torch.Tensor:
    """Masks of round objects as the model gives them: logits that grow from edge to middle."""
    torch.manual_seed(0)
    y, x = torch.meshgrid(torch.arange(cells), torch.arange(cells), indexing="ij")
    centres = torch.rand(count, 2) * cells
    radii = 20 + torch.rand(count) * 40
    away = ((x - centres[:, 0, None, None]) ** 2 + (y - centres[:, 1, None, None]) ** 2).sqrt()
    return ((radii[:, None, None] - away) * 1.5).clamp(-12, 12)


def outputs(count: int, queries: int = 200, seed: int = 1) -> dict[str, torch.Tensor]:
    """Raw outputs of one prompt: *count* sure queries among unsure ones."""
    torch.manual_seed(seed)
    logits = torch.full((queries,), -6.0)
    logits[torch.randperm(queries)[:count]] = torch.linspace(-1.5, 4, count)
    return {
        "logits": logits,
        "presence_logit": torch.tensor([3.0]),
        "boxes": torch.rand(queries, 4) * 1.4 - 0.2,
        "masks": blobs(queries),
    }


def stock(
    raw: dict[str, torch.Tensor], threshold: float, size: tuple[int, int]
) -> dict[str, torch.Tensor]:
    """`Sam3ImageProcessor.post_process_instance_segmentation`, in plain torch."""
    scores = raw["logits"].sigmoid() * raw["presence_logit"].sigmoid()
    keep = scores > threshold
    masks = raw["masks"].sigmoid()[keep]
    large = torch.nn.functional.interpolate(
        masks[None], size=size, mode="bilinear", align_corners=False
    )[0]
    height, width = size
    boxes = raw["boxes"][keep] * torch.tensor([width, height, width, height])
    return {"scores": scores[keep], "boxes": boxes, "masks": (large > 0.5).to(torch.long)}


def ours(
    raw: dict[str, torch.Tensor],
    size: tuple[int, int],
    *,
    chunk: int = CHUNK,
    options: SegmentOptions | None = None,
    view: View | None = None,
) -> PromptResult:
    """Our own way."""
    height, width = size
    options = options or SegmentOptions()
    view = view or View(0, 0, width, height)
    [result] = postprocess.trace(
        ((kept(raw, view, options),),),
        width=width,
        height=height,
        options=options,
        chunk_bytes=chunk,
    )
    return result


def kept(raw: dict[str, torch.Tensor], view: View, options: SegmentOptions) -> postprocess.Kept:
    """What is left of one prompt in one view."""
    lowest = min(options.threshold, options.floor)
    return postprocess.keep(id_="p0", text="thing", threshold=None, lowest=lowest, view=view, **raw)


def iou(one: np.ndarray, other: np.ndarray) -> float:
    """Overlap of two masks."""
    union = np.logical_or(one, other).sum()
    return 1.0 if union == 0 else float(np.logical_and(one, other).sum() / union)


def test_instances_equal_the_stock_ones() -> None:
    """Same instances; equal scores and (clipped) boxes; masks overlap by 0.999 and more."""
    raw, size = outputs(20), (720, 1280)
    expected = stock(raw, 0.5, size)
    result = ours(raw, size)
    order = expected["scores"].argsort(descending=True)
    assert len(result.instances) == len(order)
    limit = torch.tensor([1280.0, 720.0, 1280.0, 720.0])
    for instance, place in zip(result.instances, order.tolist(), strict=True):
        assert instance.score == pytest.approx(float(expected["scores"][place]), abs=1e-5)
        clipped = expected["boxes"][place].clamp(min=0).minimum(limit)
        assert instance.box == pytest.approx(clipped.tolist(), abs=2e-3)
        mask = rle.decode(instance.rle)
        assert iou(mask, expected["masks"][place].numpy()) >= 0.999
        assert instance.area == mask.sum()
        assert instance.rle.size == size


def test_the_comparison_sees_a_transposed_mask() -> None:
    """Negative control: masks with rows and columns swapped do not pass."""
    raw, size = outputs(20), (720, 1280)
    expected = stock(raw, 0.5, size)
    swapped = {**raw, "masks": raw["masks"].transpose(1, 2)}
    best = int(expected["scores"].argmax())
    mask = rle.decode(ours(swapped, size).instances[0].rle)
    assert iou(mask, expected["masks"][best].numpy()) < 0.9


def test_chunks_change_nothing() -> None:
    """One mask at a time gives the same run lengths as all at once."""
    raw, size = outputs(12), (300, 500)
    assert ours(raw, size, chunk=1) == ours(raw, size, chunk=10**9)


def test_a_view_is_a_picture_of_its_own_in_its_place() -> None:
    """In a view masks and boxes are those of a picture of its size, moved to its place."""
    raw, view = outputs(12), View(40, 30, 200, 120)
    alone = ours(raw, (120, 200))
    placed = ours(raw, (300, 500), view=view)
    for one, other in zip(alone.instances, placed.instances, strict=True):
        expected = np.zeros((300, 500), np.uint8)
        expected[30:150, 40:240] = rle.decode(one.rle)
        assert np.array_equal(rle.decode(other.rle), expected)
        moved = np.array([40, 30, 40, 30]) + one.box
        assert np.allclose(other.box, moved, atol=2e-3)


def test_an_object_that_two_views_show_is_one() -> None:
    """
    The whole and a tile show the same: the answer is that of the whole alone.

    Negative control: without merging each object would be there twice.
    """
    raw, whole = outputs(6), View(0, 0, 300, 200)
    options = SegmentOptions()
    twice = (kept(raw, whole, options), kept(raw, whole, options))
    size: dict[str, Any] = {"width": 300, "height": 200, "options": options, "chunk_bytes": CHUNK}
    [merged] = postprocess.trace((twice,), **size)
    first, second = postprocess.trace((twice[:1], twice[1:]), **size)
    assert merged.instances == first.instances
    assert len(first.instances + second.instances) == 2 * len(merged.instances)


def test_the_cap_keeps_the_best_and_says_so() -> None:
    """Over the cap the worst stay candidates and `truncated` is set; at the cap it is not."""
    raw, size = outputs(20), (60, 80)
    whole, capped = ours(raw, size), ours(raw, size, options=SegmentOptions(max_instances=5))
    assert capped.instances == whole.instances[:5]
    rest = [one.rle for one in whole.instances[5:]]
    assert [one.rle for one in capped.candidates][: len(rest)] == rest
    assert capped.truncated
    count = len(whole.instances)
    assert not ours(raw, size, options=SegmentOptions(max_instances=count)).truncated


def test_more_queries_than_can_be_kept_are_said() -> None:
    """With 300 queries over the floor the best 200 are kept and `more` is set."""
    raw = outputs(300, queries=300)
    one = kept(raw, View(0, 0, 80, 60), SegmentOptions())
    assert one.more
    assert len(one.scores) == 200
    assert not kept(outputs(200), View(0, 0, 80, 60), SegmentOptions()).more


def test_what_the_floor_lets_through_becomes_a_candidate() -> None:
    """A higher threshold turns instances into candidates, a floor as high drops them."""
    raw, size = outputs(20), (60, 80)
    low = ours(raw, size)
    high = ours(raw, size, options=SegmentOptions(threshold=0.8))
    assert 0 < len(high.instances) < len(low.instances)
    assert len(high.instances + high.candidates) == len(low.instances + low.candidates)
    dropped = ours(raw, size, options=SegmentOptions(threshold=0.8, floor=0.8))
    assert dropped.candidates == ()
    assert dropped.instances == high.instances


def test_nothing_found_is_a_result() -> None:
    """Zero instances are an empty list with a presence."""
    raw = outputs(0)
    result = ours(raw, (60, 80))
    assert result.instances == ()
    assert result.presence == pytest.approx(0.952574)


@pytest.mark.parametrize(
    ("first", "later"),
    [
        (SegmentOptions(), {"threshold": 0.3}),
        (SegmentOptions(threshold=0.9), {"threshold": 0.7, "nms": 0.5}),
        (SegmentOptions(threshold=0.1, max_instances=2), {"max_instances": 30, "min_area": 3000}),
        (SegmentOptions(nms=0.1, min_area=5000), {"min_area": 0, "nms": 1.0}),
    ],
)
def test_a_result_cut_anew_is_that_of_a_fresh_run(
    first: SegmentOptions, later: dict[str, float]
) -> None:
    """
    Two prompts of the model's raw outputs, with one set of options, then with another.

    Negative control: the two sets of options give different answers.
    """
    raws = [outputs(30, seed=seed) for seed in (1, 2)]
    second = first.model_copy(update=later)
    before, expected = (manifest(raws, options) for options in (first, second))
    assert rethreshold(before, RethresholdRequest(**later)) == expected
    assert before.prompts != expected.prompts


def manifest(raws: list[dict[str, torch.Tensor]], options: SegmentOptions) -> Manifest:
    """What a run with these options writes, without its times."""
    view = View(0, 0, 160, 120)
    prompts = postprocess.trace(
        tuple((replace(kept(raw, view, options), id=f"p{n}"),) for n, raw in enumerate(raws)),
        width=160,
        height=120,
        options=options,
        chunk_bytes=CHUNK,
    )
    return Manifest(
        image=ImageSize(width=160, height=120),
        model=FakeSegmenter().info,
        timings=Timings(decode_ms=0, model_ms=0, post_ms=0, total_ms=0),
        options=options,
        prompts=prompts,
    )


def test_labels_run_over_all_prompts() -> None:
    """The second prompt's instances go on counting where the first one's end."""
    options, view = SegmentOptions(), View(0, 0, 80, 60)
    one = kept(outputs(3), view, options)
    results = postprocess.trace(
        ((one,), (one,)), width=80, height=60, options=options, chunk_bytes=CHUNK
    )
    labels = [instance.label for result in results for instance in result.instances]
    assert labels == list(range(1, len(labels) + 1))


def test_masks_of_extreme_pictures_are_traced() -> None:
    """A single pixel and a single line have masks of their own size."""
    for width, height in ((1, 1), (3000, 1), (1, 3000)):
        result = ours(outputs(2), (height, width))
        assert all(instance.rle.size == (height, width) for instance in result.instances)


def peak_growth(work: object) -> int:
    """Bytes by which this process's memory grows at most while *work* runs (Linux)."""
    status = Path("/proc/self/status")

    def read(field: str) -> int:
        [line] = [line for line in status.read_text().splitlines() if line.startswith(field)]
        return int(line.split()[1]) * 1024

    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before = read("VmRSS")
    assert callable(work)
    work()
    return read("VmHWM") - before


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="measured through /proc")
def test_peak_memory_is_bounded() -> None:
    """
    Masks of 2048 x 2048 take a chunk and a little, also when every cell of them is an edge.

    Negative control: the stock way takes far more for a fifth of fifty.
    """
    raw, size = outputs(50), (2048, 2048)
    bound = 2 * CHUNK + 2 * 2048 * 2048 * 4
    assert peak_growth(lambda: ours(raw, size, chunk=CHUNK)) < bound
    noise = {**outputs(10), "masks": torch.randn(200, 288, 288)}
    assert peak_growth(lambda: ours(noise, size, chunk=CHUNK)) < bound
    few = {**raw, "logits": raw["logits"].where(raw["logits"] > 3, -9.0)}
    assert peak_growth(lambda: stock(few, 0.5, size)) > bound
