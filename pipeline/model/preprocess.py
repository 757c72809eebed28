"""How a picture becomes a tensor: one view, stretched to SAM3's square, without torchvision."""

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from pipeline.model.work_items import View


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewInput:
    """A view in the form that the model takes."""

    view: View
    square: torch.Tensor
    """(3, side, side) uint8, on the CPU."""
    digest: bytes
    """Of scope and square; equal digests mean equal vision features."""


def view_input(picture: Image.Image, view: View, *, side: int, scope: str) -> ViewInput:
    """Cut *view* out of *picture* and stretch it to a square of *side* pixels."""
    part = picture
    if (view.width, view.height) != picture.size:
        part = picture.crop((view.left, view.top, view.right, view.bottom))
    square = to_square(part, side)
    # The scope is the key: users must not learn from timing that others sent the same picture.
    key = hashlib.blake2b(scope.encode(), digest_size=16).digest()
    digest = hashlib.blake2b(square.numpy().tobytes(), digest_size=16, key=key).digest()
    return ViewInput(view=view, square=square, digest=digest)


def to_square(picture: Image.Image, side: int) -> torch.Tensor:
    """
    Stretch *picture* to a square of bytes: (3, side, side) uint8.

    Source: `Sam3ImageProcessor` (bilinear with antialiasing, aspect ratio not kept). Pillow's
    resize is the same filter; both round to bytes, so they differ by at most 1 of 255.
    """
    # Pillow's `convert` copies all pixels even when the picture is RGB already.
    colours = picture if picture.mode == "RGB" else picture.convert("RGB")
    square = colours.resize((side, side), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(square)).permute(2, 0, 1)


def normalize(square: torch.Tensor) -> torch.Tensor:
    """Map bytes 0..255 to float32 -1..1, as SAM3's mean and deviation of 0.5 do."""
    return square.float() / 127.5 - 1


def to_pixel_values(picture: Image.Image, side: int) -> torch.Tensor:
    """Give `pixel_values` as transformers takes them: (1, 3, side, side) float32 in -1..1."""
    return normalize(to_square(picture, side))[None]
