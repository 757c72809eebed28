"""From an upright RGB picture to the square tensor that SAM3 looks at, without torchvision."""

import numpy as np
import torch
from PIL import Image


def to_square(picture: Image.Image, side: int) -> torch.Tensor:
    """
    Stretch *picture* to a square of bytes: (3, side, side), uint8.

    Source: `Sam3ImageProcessor` (bilinear with antialiasing, aspect ratio not kept). Pillow's
    resize is the same filter; both round to bytes, so they differ by at most one step of 255.
    """
    # To convert what is RGB already copies all its pixels.
    colours = picture if picture.mode == "RGB" else picture.convert("RGB")
    square = colours.resize((side, side), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(square)).permute(2, 0, 1)


def normalize(square: torch.Tensor) -> torch.Tensor:
    """Bytes 0..255 to the -1..1 of SAM3 (mean and standard deviation 0.5), float32."""
    return square.float() / 127.5 - 1


def to_pixel_values(picture: Image.Image, side: int) -> torch.Tensor:
    """Give the model's `pixel_values` for one picture: (1, 3, side, side), float32 in -1..1."""
    return normalize(to_square(picture, side))[None]
