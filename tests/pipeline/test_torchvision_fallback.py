"""Region pooling equals the definition of torchvision's operator."""

import importlib
import math
from itertools import product
from types import SimpleNamespace

import torch

from pipeline.model import torchvision_fallback


def sample(plane: torch.Tensor, y: float, x: float) -> float:
    """One bilinear sample, as torchvision's kernel takes it (out of reach counts as zero)."""
    height, width = plane.shape
    if not (-1 <= y <= height and -1 <= x <= width):
        return 0.0
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    dy, dx = y - top, x - left
    above = plane[top, left] * (1 - dx) + plane[top, right] * dx
    below = plane[bottom, left] * (1 - dx) + plane[bottom, right] * dx
    return float(above * (1 - dy) + below * dy)


def direct(plane: torch.Tensor, box: list[float], size: int) -> torch.Tensor:
    """Average the samples of each bin, one by one."""
    left, top, right, bottom = box
    width, height = max(right - left, 1.0), max(bottom - top, 1.0)
    columns, rows = math.ceil(width / size), math.ceil(height / size)
    out = torch.zeros(size, size)
    for row, column in product(range(size), range(size)):
        places = product(range(rows), range(columns))
        total = sum(
            sample(
                plane,
                top + (row + (y + 0.5) / rows) * height / size,
                left + (column + (x + 0.5) / columns) * width / size,
            )
            for y, x in places
        )
        out[row, column] = total / (rows * columns)
    return out


def test_pooling_equals_direct_sampling() -> None:
    """Large, small, empty, border and outside boxes agree with sample-by-sample averaging."""
    torch.manual_seed(0)
    features = torch.randn(2, 3, 18, 24)
    boxes = [
        [[1.3, 2.2, 20.9, 15.1], [5.0, 5.0, 5.0, 5.0], [0.0, 0.0, 24.0, 18.0]],
        [[21.5, 14.0, 27.0, 21.0], [-3.0, -2.5, 4.0, 3.0], [7.7, 1.1, 8.4, 16.6]],
    ]
    pooled = torchvision_fallback.roi_align(features, [torch.tensor(group) for group in boxes], 7)
    expected = torch.stack(
        [
            torch.stack([direct(plane, box, 7) for plane in features[picture]])
            for picture, group in enumerate(boxes)
            for box in group
        ]
    )
    assert torch.allclose(pooled, expected, atol=1e-5)


def test_pooling_is_differentiable() -> None:
    """The features of a pooled box get gradients, so that a model can be trained through it."""
    features = torch.randn(1, 2, 6, 6, requires_grad=True)
    pooled = torchvision_fallback.roi_align(features, [torch.tensor([[1.0, 1.0, 4.0, 4.0]])], 2)
    [gradient] = torch.autograd.grad(pooled.sum(), features)
    assert torch.isclose(gradient.sum(), torch.tensor(8.0), atol=1e-4)


def test_no_boxes_give_an_empty_answer() -> None:
    """Pictures without boxes give no rows."""
    pooled = torchvision_fallback.roi_align(torch.zeros(1, 4, 3, 3), [torch.zeros(0, 4)], 7)
    assert pooled.shape == (0, 4, 7, 7)


def test_a_working_operator_is_kept_and_a_broken_one_replaced() -> None:
    """Only an operator that pools a box is left in place."""
    sam3 = vars(importlib.import_module("transformers.models.sam3.modeling_sam3"))

    def broken(*_: object) -> None:
        raise RuntimeError("operator torchvision::roi_align does not exist")

    before = sam3.get("torchvision")
    try:
        sam3["torchvision"] = SimpleNamespace(ops=SimpleNamespace(roi_align=broken))
        assert torchvision_fallback.install()
        assert sam3["torchvision"].ops.roi_align is torchvision_fallback.roi_align
        assert not torchvision_fallback.install()
    finally:
        sam3["torchvision"] = before
