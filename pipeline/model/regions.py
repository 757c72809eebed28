"""
Region pooling for box prompts, where torchvision's own operator is missing or broken.

The operator averages bilinear samples on a regular grid. Both the grid and the bilinear weights
are products of a vertical and a horizontal part, so pooling one box is two matrix products:
`rows @ features @ columns.T`. That is exact, differentiable, and needs no compiled code.
"""

import importlib
import math
from collections.abc import Sequence
from types import ModuleType, SimpleNamespace
from typing import Final

import torch


#: transformers' modules that pool regions; each model has a copy of its own.
_POOLING: Final = (
    "transformers.models.sam3.modeling_sam3",
    "transformers.models.sam3_lite_text.modeling_sam3_lite_text",
)


def roi_align(
    features: torch.Tensor, boxes: Sequence[torch.Tensor], output_size: int
) -> torch.Tensor:
    """
    Pool each box to output_size x output_size, as `torchvision.ops.roi_align` does by default.

    *features* is (pictures, channels, height, width); *boxes* holds one (n, 4) tensor per picture,
    xyxy in cells of the feature map. The answer is (boxes in all, channels, size, size). Default
    means: scale 1, not aligned, as many samples per bin as the bin is cells long.
    """
    height, width = features.shape[-2:]
    pooled = [
        torch.einsum(
            "hy,cyx,wx->chw",
            _weights(box[1], box[3], output_size, height).to(features.dtype),
            features[picture],
            _weights(box[0], box[2], output_size, width).to(features.dtype),
        )
        for picture, group in enumerate(boxes)
        for box in group.float()
    ]
    if not pooled:
        return features.new_zeros(0, features.shape[1], output_size, output_size)
    return torch.stack(pooled)


def _weights(start: torch.Tensor, end: torch.Tensor, bins: int, cells: int) -> torch.Tensor:
    """Weight of each of *cells* in each of *bins* along one axis: (bins, cells)."""
    length = (end - start).clamp(min=1.0)  # an unaligned box is at least one cell long
    samples = max(math.ceil(float(length) / bins), 1)
    steps = torch.arange(bins * samples, device=start.device).view(bins, samples)
    place = start + (steps + 0.5) / samples * (length / bins)
    inside = (place >= -1.0) & (place <= cells)  # samples further out count as zero
    place = place.clamp(min=0.0, max=cells - 1)
    low = place.floor()
    share = place - low
    weights = torch.zeros(bins, cells, device=start.device)
    weights.scatter_add_(1, low.long(), torch.where(inside, 1 - share, 0.0))
    high = (low + 1).clamp(max=cells - 1).long()
    weights.scatter_add_(1, high, torch.where(inside, share, 0.0))
    return weights / samples


def install() -> bool:
    """
    Give transformers' SAM3 this operator if torchvision cannot; answer whether that was needed.

    The modules refer to a global `torchvision` that they only import when torchvision is there.
    """
    # By full names: the packages' lazy attributes are placeholders that ask for torchvision.
    modules = [importlib.import_module(name) for name in _POOLING]
    if all(_has_operator(getattr(module, "torchvision", None)) for module in modules):
        return False
    for module in modules:
        vars(module)["torchvision"] = SimpleNamespace(ops=SimpleNamespace(roi_align=roi_align))
    return True


def _has_operator(torchvision: ModuleType | SimpleNamespace | None) -> bool:
    """Whether pooling one box works; a torchvision built for another torch imports but fails."""
    if torchvision is None:
        return False
    probe = torch.zeros(1, 1, 2, 2)
    try:
        torchvision.ops.roi_align(probe, [torch.tensor([[0.0, 0.0, 1.0, 1.0]])], 1)
    except (AttributeError, ImportError, NotImplementedError, RuntimeError):
        return False
    return True
