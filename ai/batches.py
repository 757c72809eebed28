"""
Training batches: pictures for vision alone, and pictures with prompts about them.

Scenes are drawn once into a `Pool` and used many times, turned and mirrored.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ai import scenes, tiny_config, vocabulary
from ai.vocabulary import Concept


if TYPE_CHECKING:
    from transformers import CLIPTokenizer

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """n pictures and B pairs of picture and prompt; T things per picture at most."""

    pictures: Pictures
    rows: Tensor  # (B,) the picture of each pair
    ids: Tensor  # (B, L) token ids
    words: Tensor  # (B, L) True where a token is no padding
    exemplar: Tensor  # (B, 4) box given with the prompt: centre x, centre y, width, height
    boxed: Tensor  # (B,) True where there is such a box
    wanted: Tensor  # (B, T) True for the things the prompt asks for

    @property
    def boxes(self) -> Tensor:
        """Boxes of the things in each pair's picture: (B, T, 4)."""
        return self.pictures.boxes[self.rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """One prompt about one picture: a text, perhaps with the box of one thing as an exemplar."""

    text: str
    concept: Concept
    exemplar: int | None = None  # index of a thing


class Batches:
    """The batches of one shard: batch number n is the same in every run."""

    def __init__(self, recipe: tiny_config.Recipe, shard: int, tokens: "CLIPTokenizer") -> None:
        """Draw the shard's pools of scenes."""
        self._recipe, self._shard, self._tokens = recipe, shard, tokens
        self._crowded = draw(recipe, shard, crowded=True)
        self._plain = draw(recipe, shard, crowded=False)

    def lesson(self, number: int) -> Pictures:
        """Pick crowded pictures, without prompts: more things in each."""
        return self._crowded.pictures(self._rng(number), self._recipe.pupils)

    def batch(self, number: int) -> Batch:
        """Pick pictures and make prompts about them."""
        recipe, rng = self._recipe, self._rng(number)
        pictures = self._plain.pictures(rng, recipe.images)
        rows = torch.arange(recipe.images).repeat_interleave(recipe.prompts)
        prompts = [prompt_about(rng, pictures, int(row)) for row in rows]
        text = self._tokens([p.text for p in prompts], padding="longest", return_tensors="pt")
        exemplars = [p.exemplar or 0 for p in prompts]
        return Batch(
            pictures=pictures,
            rows=rows,
            ids=text.input_ids,
            words=text.attention_mask.bool(),
            exemplar=pictures.boxes[rows, torch.tensor(exemplars)],
            boxed=torch.tensor([p.exemplar is not None for p in prompts]),
            wanted=torch.stack(
                [_fits(p.concept, pictures, int(r)) for p, r in zip(prompts, rows, strict=True)]
            ),
        )

    def _rng(self, number: int) -> np.random.Generator:
        return np.random.default_rng([self._recipe.seed, 2, self._shard, number])


def _fits(concept: Concept, pictures: Pictures, row: int) -> Tensor:
    """Which slots of a picture hold a thing that the concept means: (T,)."""
    wanted = pictures.there[row]
    if concept.colour is not None:
        wanted = wanted & (pictures.colours[row] == COLOURS.index(concept.colour))
    if concept.shape is not None:
        wanted = wanted & (pictures.shapes[row] == SHAPES.index(concept.shape))
    return wanted


def prompt_about(rng: np.random.Generator, pictures: Pictures, row: int) -> Prompt:
    """Make a prompt about a picture: present, absent, nearly right, or a box."""
    there = pictures.there[row].nonzero()[:, 0].numpy()
    kind = rng.random()
    if not len(there) or kind < 0.1:
        return _said(_whatever(rng), rng)
    slot, other = (int(s) for s in rng.choice(there, 2))
    colour, shape = COLOURS[pictures.colours[row, slot]], SHAPES[pictures.shapes[row, slot]]
    if kind < 0.4:
        return _said(_nearly(rng, colour, shape, SHAPES[pictures.shapes[row, other]]), rng)
    concept = Concept(colour=colour, shape=shape)
    if kind < 0.52:  # an exemplar box without text means "all that are like this one"
        return Prompt(text=vocabulary.BOX_ONLY, concept=concept, exemplar=slot)
    if rng.random() > 0.6:
        concept = (Concept(), Concept(colour=colour), Concept(shape=shape))[rng.integers(3)]
    return _said(concept, rng, exemplar=slot if kind < 0.58 else None)


def _whatever(rng: np.random.Generator) -> Concept:
    """Choose any pair, colour or shape; it is nearly always absent."""
    kind = rng.integers(4)
    colour = None if kind == 0 else _any(rng, COLOURS)
    shape = None if kind == 1 else _any(rng, SHAPES)
    return Concept(colour=colour, shape=shape)


def _nearly(rng: np.random.Generator, colour: str, shape: str, other: str) -> Concept:
    """Change the shape, to another thing's or any, or the colour; by chance it may be right."""
    kind = rng.random()
    if kind > 0.7:
        return Concept(colour=_any(rng, COLOURS), shape=shape)
    return Concept(colour=colour, shape=other if kind < 0.4 else _any(rng, SHAPES))


def _said(concept: Concept, rng: np.random.Generator, exemplar: int | None = None) -> Prompt:
    return Prompt(text=vocabulary.phrase(concept, rng), concept=concept, exemplar=exemplar)


def _any(rng: np.random.Generator, words: list[str]) -> str:
    return words[rng.integers(len(words))]
