"""
Synthetic scenes: coloured shapes on a noisy background, with the true mask of each.

``python -m ai.scenes FILE [--seed N]`` draws the demo's picture.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ai import vocabulary


#: Most objects in one scene.
MAX_OBJECTS: Final = 6

#: Radius of an object, in units of the picture's mean side.
SMALLEST, LARGEST = 0.09, 0.2

#: Narrowest and widest picture (width / height) whose squashed square the model is shown.
ASPECTS: Final = (3 / 4, 4 / 3)

#: Corners of each shape other than the circle: radii, repeated around the centre.
CORNERS: Final[dict[str, tuple[float, ...]]] = {
    "square": (1.15,) * 4,
    "triangle": (1.3225,) * 3,
    "star": (1.3225, 0.575) * 5,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A shape to draw: centre in 0..1 of width and height, radius in units of the mean side."""

    colour: str
    shape: str
    centre: tuple[float, float]
    radius: float
    angle: float = 0.0  # radians


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """A drawn shape; `mask` (height, width) holds its visible pixels only."""

    colour: str
    shape: str
    mask: NDArray[np.bool_]

    def fits(self, concept: vocabulary.Concept) -> bool:
        """Whether the concept means this thing."""
        return concept.fits(self.colour, self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A picture (height, width, 3; uint8) and the things in it, from back to front."""

    image: NDArray[np.uint8]
    things: tuple[Thing, ...]


def scene(rng: np.random.Generator, side: int, tries: int | None = None) -> Scene:
    """
    Draw a random square scene of 1 to 6 things, as the model sees a picture of aspect 3:4 to 4:3.

    Things overlap by 30 % at most; one with only a few visible pixels is dropped. With *tries* the
    scene is crowded: so many positions are tried, and each free one is used.
    """
    low, high = np.log(ASPECTS)
    aspect = float(np.exp(rng.uniform(low, high))) if rng.random() < 0.7 else 1.0
    canvas = background(rng, (side, side), noise=rng.uniform(0, 14))
    things: list[Thing] = []
    for _ in range(tries or rng.integers(1, MAX_OBJECTS + 1)):
        shape = _random_shape(rng)
        cover = coverage(shape, (side, side), aspect)
        mask = cover > 0.5
        if not any(_overlap(mask, thing.mask) > 0.3 for thing in things):
            paint(canvas, cover, shape.colour, rng)
            things = [replace(thing, mask=thing.mask & ~mask) for thing in things]
            things.append(Thing(colour=shape.colour, shape=shape.shape, mask=mask))
    least = side * side / 1000
    seen = tuple(thing for thing in things if thing.mask.sum() >= least)
    return Scene(image=np.clip(canvas, 0, 255).astype(np.uint8), things=seen)


def picture(
    what: int | Sequence[Shape] = 0, size: tuple[int, int] = (640, 480)
) -> tuple[Image.Image, tuple[Thing, ...]]:
    """
    Draw a larger picture for the demo: 4 to 6 different shapes, well apart.

    *what* is a seed, or the shapes themselves; *size* is (width, height) in pixels. Returns the
    picture and its things with their true masks at full size.
    """
    rng = np.random.default_rng([7, what if isinstance(what, int) else 0])
    shapes = spread(rng) if isinstance(what, int) else what
    canvas = background(rng, size, noise=3.0)
    things: list[Thing] = []
    for shape in shapes:
        cover = coverage(shape, size, size[0] / size[1])
        mask = cover > 0.5
        paint(canvas, cover, shape.colour, rng)
        things = [replace(thing, mask=thing.mask & ~mask) for thing in things]
        things.append(Thing(colour=shape.colour, shape=shape.shape, mask=mask))
    return Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8)), tuple(things)


def spread(rng: np.random.Generator) -> list[Shape]:
    """Choose 4 to 6 shapes of different kinds whose centres lie well apart."""
    pairs = vocabulary.every_pair()
    kinds = rng.choice(len(pairs), size=int(rng.integers(4, 7)), replace=False)
    cells = rng.permutation(6)[: len(kinds)]
    shapes = []
    for kind, cell in zip(kinds, cells, strict=True):
        column, row = cell % 3, cell // 3
        x = (column + 0.5 + rng.uniform(-0.12, 0.12)) / 3
        y = (row + 0.5 + rng.uniform(-0.1, 0.1)) / 2
        concept = pairs[kind]
        shapes.append(
            Shape(
                colour=str(concept.colour),
                shape=str(concept.shape),
                centre=(float(x), float(y)),
                radius=float(rng.uniform(0.1, 0.14)),
                angle=float(rng.uniform(0, 2 * math.pi)),
            )
        )
    return shapes


def background(
    rng: np.random.Generator, size: tuple[int, int], noise: float
) -> NDArray[np.float32]:
    """Paint a plain colour with a gradient of light and *noise* (standard deviation, 0..255)."""
    width, height = size
    slope_x = np.linspace(-1, 1, width)[None, :, None] * rng.normal(0, 15)
    slope_y = np.linspace(-1, 1, height)[:, None, None] * rng.normal(0, 15)
    grain = rng.normal(0, 1, (height, width, 1)) * noise
    plain = rng.integers(20, 150, 3) + slope_x + slope_y + grain
    return np.clip(plain, 0, 255).astype(np.float32)


def coverage(shape: Shape, size: tuple[int, int], aspect: float) -> NDArray[np.float32]:
    """
    Give how much of each pixel the shape covers: (height, width), 0..1.

    *aspect* is width / height of the picture that is squashed to *size* (width, height).
    """
    width, height = size
    reach_x = shape.radius / math.sqrt(aspect) * width
    reach_y = shape.radius * math.sqrt(aspect) * height
    x, y = shape.centre[0] * width, shape.centre[1] * height
    radii = CORNERS.get(shape.shape, (1.0,) * 48)  # a circle is a polygon with many corners
    turns = shape.angle + 2 * math.pi / len(radii) * np.arange(len(radii))
    xs = x + reach_x * np.array(radii) * np.cos(turns)
    ys = y + reach_y * np.array(radii) * np.sin(turns)
    left, top = max(int(xs.min()), 0), max(int(ys.min()), 0)
    right, bottom = min(int(xs.max()) + 2, width), min(int(ys.max()) + 2, height)
    # Only the part around the shape is drawn: four times as large, then averaged.
    part = Image.new("L", (4 * (right - left), 4 * (bottom - top)))
    corners = np.stack([(xs - left) * 4, (ys - top) * 4], 1)
    ImageDraw.Draw(part).polygon([(float(u), float(v)) for u, v in corners], fill=255)
    cover = np.zeros((height, width), np.float32)
    cover[top:bottom, left:right] = np.asarray(part.reduce(4), np.float32) / np.float32(255)
    return cover


def paint(
    canvas: NDArray[np.float32], cover: NDArray[np.float32], colour: str, rng: np.random.Generator
) -> None:
    """Lay a colour, varied a little, over the canvas where *cover* says."""
    base = np.clip(np.array(vocabulary.COLOURS[colour]) + rng.normal(0, 14, 3), 0, 255)
    rows, columns = np.flatnonzero(cover.any(1)), np.flatnonzero(cover.any(0))
    if not len(rows):
        return
    part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    alpha = cover[part][..., None]
    texture = base + rng.normal(0, 6, alpha.shape)
    canvas[part] += (texture - canvas[part]) * alpha


def _random_shape(rng: np.random.Generator) -> Shape:
    colours, shapes = list(vocabulary.COLOURS), list(vocabulary.SHAPES)
    x, y = rng.uniform(0.12, 0.88, 2)
    return Shape(
        colour=colours[rng.integers(len(colours))],
        shape=shapes[rng.integers(len(shapes))],
        centre=(float(x), float(y)),
        radius=float(rng.uniform(SMALLEST, LARGEST)),
        angle=float(rng.uniform(0, 2 * math.pi)),
    )


def _overlap(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    smaller = min(one.sum(), other.sum())
    return float((one & other).sum() / smaller) if smaller else 0.0


#: Two red circles, a red thing that is no circle, and other things.
DEMO: Final = (
    Shape(colour="red", shape="circle", centre=(0.19, 0.27), radius=0.14),
    Shape(colour="yellow", shape="star", centre=(0.52, 0.25), radius=0.14, angle=0.3),
    Shape(colour="blue", shape="square", centre=(0.82, 0.28), radius=0.12, angle=0.6),
    Shape(colour="red", shape="triangle", centre=(0.2, 0.74), radius=0.13, angle=0.5),
    Shape(colour="green", shape="square", centre=(0.5, 0.73), radius=0.11, angle=0.2),
    Shape(colour="red", shape="circle", centre=(0.78, 0.7), radius=0.11),
)


def main() -> int:
    """Write the demo's picture; the file's suffix decides its format."""
    parser = argparse.ArgumentParser(
        prog="python -m ai.scenes", description="Draw the demo's picture of coloured shapes."
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--seed", type=int, help="another picture, drawn by chance")
    options = parser.parse_args()
    drawn, _ = picture(DEMO if options.seed is None else options.seed)
    drawn.save(options.file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
