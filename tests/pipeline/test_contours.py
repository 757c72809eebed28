"""Traced masks equal upsampled ones, in any view, and take little memory and few steps."""

from itertools import product

import numpy as np
import pytest
import torch

from pipeline.model import contours as module
from pipeline.model.contours import Canvas, trace_contours
from pipeline.model.work_items import View
from s3_sam3.contracts.manifest import Rle
from s3_sam3.imaging import rle


CHUNK = 32 * 1024 * 1024


def noise(count: int, rows: int, columns: int, seed: int = 0) -> torch.Tensor:
    """Logits without any order: every cell may be an edge."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, rows, columns, generator=generator) * 3


def plain(logits: torch.Tensor, canvas: Canvas, cut: float) -> list[tuple[Rle, int]]:
    """The stock way: every mask upsampled, every pixel compared."""
    view = canvas.view
    large = torch.nn.functional.interpolate(
        logits.sigmoid()[None],
        size=(view.height, view.width),
        mode="bilinear",
        align_corners=False,
    )[0]
    pixels = torch.zeros(len(logits), canvas.height, canvas.width, dtype=torch.uint8)
    rows, columns = slice(view.top, view.bottom), slice(view.left, view.right)
    pixels[:, rows, columns] = (large > cut).to(torch.uint8)
    return rle.encode(pixels.transpose(1, 2).contiguous().numpy())


def whole(width: int, height: int) -> Canvas:
    """A picture that is one view."""
    return Canvas(width, height, View(0, 0, width, height))


def ours(
    logits: torch.Tensor, canvas: Canvas, cut: float = 0.5, chunk: int = CHUNK
) -> list[tuple[Rle, int]]:
    """TracedView."""
    return trace_contours(logits, canvas, mask_threshold=cut, chunk_bytes=chunk)


SIDES = [1, 2, 7, 30, 31, 100, 333]


@pytest.mark.parametrize(("width", "height"), list(product(SIDES, SIDES)))
def test_traced_masks_are_the_upsampled_masks(width: int, height: int) -> None:
    """Run lengths and areas are equal, for pictures smaller and larger than the mask."""
    logits = noise(3, 30, 30, seed=width * height)
    assert ours(logits, whole(width, height)) == plain(logits, whole(width, height), 0.5)


def test_the_comparison_sees_a_wrong_threshold() -> None:
    """Negative control: a mask cut a little higher is another mask."""
    logits = noise(1, 30, 30)
    assert ours(logits, whole(200, 100), cut=0.51) != plain(logits, whole(200, 100), 0.5)


@pytest.mark.parametrize("cut", [0.1, 0.5, 0.93])
@pytest.mark.parametrize("view", [View(0, 0, 90, 80), View(13, 7, 90, 80), View(110, 40, 90, 80)])
def test_a_views_masks_are_traced_in_its_place(view: View, cut: float) -> None:
    """Also at the picture's ends, where runs go from one column to the next."""
    logits, canvas = noise(4, 20, 24) + 1, Canvas(200, 120, view)
    assert ours(logits, canvas, cut) == plain(logits, canvas, cut)


def test_full_and_empty_masks_are_one_run() -> None:
    """All pixels, or none."""
    logits = torch.stack([torch.full((9, 9), 5.0), torch.full((9, 9), -5.0)])
    (full, area), (empty, nothing) = ours(logits, whole(50, 40))
    assert (area, nothing) == (2000, 0)
    assert rle.flips(full).tolist() == [0, 2000]
    assert rle.flips(empty).tolist() == []


def test_no_masks_give_no_run_lengths() -> None:
    """Nothing found, nothing done."""
    assert ours(noise(0, 9, 9), whole(50, 40)) == []


@pytest.mark.parametrize("chunk", [1, 20_000, 1_000_000])
def test_chunks_change_nothing(chunk: int) -> None:
    """Mask by mask, in parts of a mask, or all at once."""
    logits = noise(5, 40, 40)
    assert ours(logits, whole(300, 200), chunk=chunk) == ours(logits, whole(300, 200))


def test_a_smooth_mask_is_traced_without_looking_at_its_pixels() -> None:
    """
    A disc on 4032 x 4032 pixels is decided at a few thousand places.

    Negative control: noise takes a thousand times as many.
    """
    y, x = torch.meshgrid(torch.arange(288.0), torch.arange(288.0), indexing="ij")
    disc = 40 - ((x - 144) ** 2 + (y - 144) ** 2).sqrt()[None]
    places = {}
    for name, logits in (("disc", disc), ("noise", noise(1, 288, 288))):
        edges = module._Edges(logits.sigmoid(), whole(4032, 4032), 0.5)
        places[name] = len(edges._mixed()) * int(edges._count.max())
    assert places["disc"] < 10_000
    assert places["noise"] > 100 * places["disc"]


class Crowded(module._Edges):
    """A device with room for two masks at once."""

    tried: list[int] = []  # noqa: RUF012 - the test's own

    def __init__(self, masks: torch.Tensor, canvas: Canvas, cut: float) -> None:
        self.tried.append(len(masks))
        if len(masks) > 2:
            raise torch.OutOfMemoryError
        super().__init__(masks, canvas, cut)


def test_without_room_masks_are_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven masks where two fit: halves, then halves of these, and the same run lengths."""
    logits, canvas = noise(7, 20, 20), whole(60, 50)
    expected = ours(logits, canvas)
    monkeypatch.setattr(module, "_Edges", Crowded)
    assert ours(logits, canvas) == expected
    assert Crowded.tried[:3] == [7, 4, 2]


def test_one_mask_without_room_on_the_cpu_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing left to halve."""

    def refuse(*_: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(module, "_Edges", refuse)
    with pytest.raises(torch.OutOfMemoryError):
        ours(noise(3, 9, 9), whole(20, 20))


def test_saturated_masks_differ_by_ties_alone() -> None:
    """
    Cells of exactly 0 and 1 meet the threshold in the middle, where rounding decides.

    No picture of a model is so; even then hardly a pixel differs.
    """
    logits, canvas = noise(20, 30, 30) * 1e4, whole(333, 100)
    pairs = zip(ours(logits, canvas), plain(logits, canvas, 0.5), strict=True)
    differing = [(rle.decode(a) != rle.decode(b)).mean() for (a, _), (b, _) in pairs]
    assert np.mean(differing) < 1e-3
