"""Scenes drawn once and used many times, turned and mirrored."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ai import scenes, tiny_config, vocabulary


COLOURS: Final = list(vocabulary.COLOURS)
SHAPES: Final = list(vocabulary.SHAPES)

#: Positions tried for each crowded scene, and so the most things in one.
CROWD: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Scenes drawn once: N scenes, at most T things each, masks of M by M cells."""

    images: Tensor  # uint8 (N, 3, side, side)
    colours: Tensor  # int64 (N, T), -1 where there is no thing
    shapes: Tensor  # int64 (N, T)
    boxes: Tensor  # float (N, T, 4): centre x, centre y, width, height in 0..1
    masks: Tensor  # uint8 (N, T, M, M): how much of a cell is covered, 0..255

    def pictures(self, rng: np.random.Generator, count: int) -> "Pictures":
        """Pick scenes; rotate, mirror and brighten them at random."""
        chosen = rng.integers(len(self.images), size=count)
        turned = [_turn(self, int(i), rng) for i in chosen]
        gain = torch.from_numpy(rng.uniform(0.85, 1.1, (count, 1, 1, 1))).float()
        pixels = torch.stack([image for image, _, _ in turned]).float() * gain
        return Pictures(
            pixels=pixels.clamp(0, 255) / 127.5 - 1,
            colours=self.colours[chosen],
            shapes=self.shapes[chosen],
            boxes=torch.stack([boxes for _, boxes, _ in turned]),
            masks=torch.stack([masks for _, _, masks in turned]).float() / 255,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """n pictures for the model, with the true data of at most T things in each."""

    pixels: Tensor  # (n, 3, side, side) in -1..1
    colours: Tensor  # (n, T), -1 where there is no thing
    shapes: Tensor  # (n, T)
    boxes: Tensor  # (n, T, 4): centre x, centre y, width, height in 0..1
    masks: Tensor  # (n, T, M, M) in 0..1

    @property
    def there(self) -> Tensor:
        """Which slots hold a thing: (n, T)."""
        return self.colours >= 0


def draw(recipe: tiny_config.Recipe, shard: int, *, crowded: bool) -> Pool:
    """Draw a shard's scenes; a recipe and a shard always give the same pool."""
    count, most = (recipe.crowds, CROWD) if crowded else (recipe.scenes, scenes.MAX_OBJECTS)
    side, cells = recipe.image_size, recipe.mask_size
    images = torch.zeros(count, 3, side, side, dtype=torch.uint8)
    colours = torch.full((count, most), -1)
    shapes = colours.clone()
    boxes = torch.zeros(count, most, 4)
    masks = torch.zeros(count, most, cells, cells, dtype=torch.uint8)
    for number in range(count):
        rng = np.random.default_rng([recipe.seed, 1, shard, int(crowded), number])
        drawn = scenes.scene(rng, side, tries=CROWD if crowded else None)
        images[number] = torch.from_numpy(drawn.image).permute(2, 0, 1)
        for slot, thing in enumerate(drawn.things):
            colours[number, slot] = COLOURS.index(thing.colour)
            shapes[number, slot] = SHAPES.index(thing.shape)
            boxes[number, slot] = torch.tensor(box_of(thing.mask))
            fine = torch.from_numpy(thing.mask).float()[None, None]
            coarse = functional.interpolate(fine, size=(cells, cells), mode="area")
            masks[number, slot] = (coarse[0, 0] * 255).round().to(torch.uint8)
    return Pool(images=images, colours=colours, shapes=shapes, boxes=boxes, masks=masks)


def box_of(mask: NDArray[np.bool_]) -> tuple[float, float, float, float]:
    """The mask's bounding box: centre x, centre y, width, height in 0..1 of the picture."""
    height, width = mask.shape
    xs, ys = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    left, right, top, bottom = xs[0], xs[-1] + 1, ys[0], ys[-1] + 1
    return (
        float((left + right) / 2 / width),
        float((top + bottom) / 2 / height),
        float((right - left) / width),
        float((bottom - top) / height),
    )


def _turn(pool: Pool, index: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Mirror a scene left to right or not, then rotate it by 0 to 3 quarters counter-clockwise."""
    image, masks, boxes = pool.images[index], pool.masks[index], pool.boxes[index]
    x, y, width, height = boxes.unbind(-1)
    if rng.integers(2):
        image, masks, x = image.flip(-1), masks.flip(-1), 1 - x
    quarters = int(rng.integers(4))
    for _ in range(quarters):
        x, y, width, height = y, 1 - x, height, width
    image, masks = (torch.rot90(t, quarters, (-2, -1)) for t in (image, masks))
    return image, torch.stack([x, y, width, height], -1), masks
