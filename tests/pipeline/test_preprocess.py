"""The model's input equals the stock image processor's."""

import numpy as np
import torch
from PIL import Image

from pipeline.model import preprocess


def noise(width: int, height: int) -> Image.Image:
    """A picture with detail at every scale."""
    random = np.random.default_rng(0)
    coarse = Image.fromarray(random.integers(0, 256, (height // 8, width // 8, 3), np.uint8))
    fine = random.integers(-20, 20, (height, width, 3))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.int16)
    return Image.fromarray((smooth + fine).clip(0, 255).astype(np.uint8))


def stock(picture: Image.Image, side: int) -> torch.Tensor:
    """
    What `Sam3ImageProcessor` computes, in plain torch.

    Its torchvision resize of bytes is `interpolate` with antialiasing; then / 255, mean and
    standard deviation 0.5.
    """
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]
    resized = torch.nn.functional.interpolate(
        pixels, size=(side, side), mode="bilinear", antialias=True, align_corners=False
    )
    return (resized.float() / 255 - 0.5) / 0.5


def test_pixels_equal_the_stock_ones_within_one_step_of_255() -> None:
    """Shrinking, growing and stretching all agree to one byte step (2/255 in -1..1)."""
    for size in ((1920, 1080), (640, 1200), (400, 304)):
        picture = noise(*size)
        ours = preprocess.to_pixel_values(picture, 1008)
        assert ours.shape == (1, 3, 1008, 1008)
        assert (ours - stock(picture, 1008)).abs().max() <= 2 / 255 + 1e-6


def test_the_comparison_sees_another_filter() -> None:
    """Negative control: nearest-neighbour resizing does not pass for the stock filter."""
    picture = noise(1920, 1080)
    other = picture.resize((1008, 1008), Image.Resampling.NEAREST)
    wrong = preprocess.to_pixel_values(other, 1008)
    assert (wrong - stock(picture, 1008)).abs().max() > 10 / 255
