"""
Runs transformers' SAM3 without torchvision, or beside a broken one.

A torchvision built for another torch fails on import ("operator torchvision::nms does not exist"),
and transformers imports it whenever it is installed, so every model would fail with it. Of
torchvision SAM3 uses resizing, which `preprocess` does, and region pooling for box prompts
(`roi_align`), which is written here in plain torch.

`roi_align` averages bilinear samples on a regular grid. The grid and the bilinear weights are
products of a vertical and a horizontal part, so pooling one box is two matrix products:
`rows @ features @ columns.T`. That is exact, differentiable, and needs no compiled code.
"""

import importlib
import math
import sys
from collections.abc import Sequence
from types import ModuleType, SimpleNamespace
from typing import Final

import torch


#: transformers' modules that pool regions; each model has its own copy of the code.
_POOLING: Final = (
    "transformers.models.sam3.modeling_sam3",
    "transformers.models.sam3_lite_text.modeling_sam3_lite_text",
)


def hide_if_broken() -> bool:
    """
    Make an installed but broken torchvision look absent; say whether it was hidden.

    Call it before the first import of transformers.
    """
    if not _is_broken():
        return False
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    # None makes both `import` and `importlib.util.find_spec` say that it is not installed.
    sys.modules["torchvision"] = None  # type: ignore[assignment] # documented meaning: blocked
    return True


def _is_broken() -> bool:
    try:
        importlib.import_module("torchvision")
    except ModuleNotFoundError as error:
        return error.name != "torchvision"
    except Exception:  # noqa: BLE001 - it may fail in any way
        return True
    return False


def roi_align(
    features: torch.Tensor, boxes: Sequence[torch.Tensor], output_size: int
) -> torch.Tensor:
    """
    Pool each box to output_size x output_size, as `torchvision.ops.roi_align` does by default.

    *features* is (pictures, channels, height, width); *boxes* holds one (n, 4) tensor per picture,
    xyxy in cells of the feature map. The result is (all boxes, channels, size, size). The defaults
    are: scale 1, not aligned, as many samples per bin as the bin is cells long.
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
    Give transformers' SAM3 this `roi_align` if torchvision has none; say whether that was needed.

    Its modules refer to a global `torchvision`, which they import only where it is installed.
    """
    hide_if_broken()
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
