"""Manifests with masks that a test draws."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco

from s3_sam3.contracts.manifest import (
    ImageSize,
    Instance,
    Manifest,
    ModelInfo,
    PromptResult,
    Rle,
    Timings,
)
from s3_sam3.imaging import rle


Mask = NDArray[np.bool_]


def run_lengths(mask: Mask) -> Rle:
    """A mask (height, width) as COCO run lengths."""
    [(lengths, _)] = rle.encode(np.ascontiguousarray(mask.T[None].astype(np.uint8)))
    return lengths


def manifest(**found: Sequence[Mask]) -> Manifest:
    """A manifest of masks by prompt text, all of one size; scores fall from 0.9."""
    [(height, width)] = {mask.shape for masks in found.values() for mask in masks}
    prompts: list[PromptResult] = []
    label = 1
    for place, (text, masks) in enumerate(found.items()):
        instances = []
        for mask in masks:
            instances.append(_instance(mask, label))
            label += 1
        prompts.append(
            PromptResult(
                id=f"p{place}",
                text=text,
                presence=1,
                truncated=False,
                instances=tuple(instances),
            )
        )
    return Manifest(
        image=ImageSize(width=width, height=height),
        model=ModelInfo(
            name="drawn",
            revision="none",
            dtype="float32",
            device="cpu",
            code_version="0",
            demo=True,
        ),
        timings=Timings(decode_ms=0, model_ms=0, post_ms=0, total_ms=0),
        prompts=tuple(prompts),
    )


def disc(size: tuple[int, int], centre: tuple[float, float], radius: float) -> Mask:
    """A disc in a picture of (width, height)."""
    columns, rows = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    inside: Mask = (columns - centre[0]) ** 2 + (rows - centre[1]) ** 2 <= radius**2
    return inside


def ring(size: tuple[int, int], centre: tuple[float, float], radius: float) -> Mask:
    """A disc with a hole of half its radius."""
    return disc(size, centre, radius) & ~disc(size, centre, radius / 2)


def drawn(flat_rings: list[list[float]], shape: tuple[int, ...]) -> Mask:
    """The mask that pycocotools draws from rings x, y, x, y, …; (height, width)."""
    height, width = (int(edge) for edge in shape)
    packed: Any = coco.merge(coco.frPyObjects(flat_rings, height, width))
    inside: Mask = coco.decode(packed).astype(np.bool_)
    return inside


def overlap(one: Mask, other: Mask) -> float:
    """IoU of two masks."""
    return float((one & other).sum() / (one | other).sum())


def picture(path: Path, size: tuple[int, int] = (64, 48)) -> Path:
    """A picture file in which each pixel's colour tells its place."""
    width, height = size
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = np.arange(width)
    pixels[..., 1] = np.arange(height)[:, None]
    Image.fromarray(pixels).save(path)
    return path


def _instance(mask: Mask, label: int) -> Instance:
    rows, columns = np.nonzero(mask)
    box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) if len(rows) else (0,) * 4
    return Instance(
        label=label,
        score=round(1 - label / 10, 2),
        box=box,
        area=int(mask.sum()),
        rle=run_lengths(mask),
    )
