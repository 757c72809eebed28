"""Post-processing equals the stock one, in bounded memory."""

from pathlib import Path

import numpy as np
import pytest
import torch

from contracts.manifest import PromptResult
from contracts.prompts import SegmentOptions
from masks import rle
from pipeline import postprocess


CHUNK = 32 * 1024 * 1024


def blobs(count: int, cells: int = 288) -> torch.Tensor:
    """Masks of round objects as the model gives them: logits that grow from edge to middle."""
    torch.manual_seed(0)
    y, x = torch.meshgrid(torch.arange(cells), torch.arange(cells), indexing="ij")
    centres = torch.rand(count, 2) * cells
    radii = 20 + torch.rand(count) * 40
    away = ((x - centres[:, 0, None, None]) ** 2 + (y - centres[:, 1, None, None]) ** 2).sqrt()
    return ((radii[:, None, None] - away) * 1.5).clamp(-12, 12)


def outputs(count: int, queries: int = 200) -> dict[str, torch.Tensor]:
    """Raw outputs of one prompt: *count* sure queries among unsure ones."""
    torch.manual_seed(1)
    logits = torch.full((queries,), -6.0)
    logits[torch.randperm(queries)[:count]] = torch.linspace(0.5, 4, count)
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
    raw: dict[str, torch.Tensor], size: tuple[int, int], *, chunk: int = CHUNK, most: int = 200
) -> PromptResult:
    """Our own way."""
    options = SegmentOptions(max_instances=most)
    kept = postprocess.keep(id_="p0", text="thing", threshold=0.5, most=most, **raw)
    height, width = size
    [result] = postprocess.trace(
        (kept,), width=width, height=height, options=options, chunk_bytes=chunk
    )
    return result


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


def test_the_mask_threshold_is_a_probability() -> None:
    """A mask threshold of 0.9 keeps exactly the pixels whose probability is over 0.9."""
    logits = blobs(1)
    [(mask, area)] = postprocess.outline(
        logits, width=288, height=288, mask_threshold=0.9, chunk_bytes=CHUNK
    )
    expected = (logits[0].sigmoid() > 0.9).numpy()
    assert np.array_equal(rle.decode(mask), expected)
    assert area == expected.sum()


def test_the_cap_keeps_the_best_and_says_so() -> None:
    """Over the cap the worst are dropped and `truncated` is set; at the cap it is not."""
    raw, size = outputs(20), (60, 80)
    whole, capped = ours(raw, size), ours(raw, size, most=5)
    assert capped.instances == whole.instances[:5]
    assert capped.truncated
    count = len(whole.instances)
    assert not ours(raw, size, most=count).truncated


def test_nothing_found_is_a_result() -> None:
    """Zero instances are an empty list with a presence."""
    raw = outputs(0)
    result = ours(raw, (60, 80))
    assert result.instances == ()
    assert result.presence == pytest.approx(0.952574)


def test_labels_run_over_all_prompts() -> None:
    """The second prompt's instances go on counting where the first one's end."""
    raw = outputs(3)
    kept = postprocess.keep(id_="a", text=None, threshold=0.5, most=200, **raw)
    options = SegmentOptions()
    results = postprocess.trace(
        (kept, kept), width=80, height=60, options=options, chunk_bytes=CHUNK
    )
    labels = [instance.label for result in results for instance in result.instances]
    assert labels == list(range(1, len(labels) + 1))


def test_extreme_pictures_are_outlined() -> None:
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
    Fifty masks of 2048 x 2048 fit in the chunk and a mask or two.

    Negative control: the stock way takes far more for a fifth of them.
    """
    raw, size = outputs(50), (2048, 2048)
    one_mask = 2048 * 2048 * 4
    assert peak_growth(lambda: ours(raw, size, chunk=CHUNK)) < 2 * CHUNK + 2 * one_mask
    few = {**raw, "logits": raw["logits"].where(raw["logits"] > 3.3, -9.0)}
    assert peak_growth(lambda: stock(few, 0.5, size)) > 2 * CHUNK + 2 * one_mask
