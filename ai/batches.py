"""Training data: a pool of drawn scenes, and the batches of pictures and prompts taken from it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ai import scenes, tiny_config, vocabulary
from ai.vocabulary import Concept


if TYPE_CHECKING:
    from transformers import CLIPTokenizer

COLOURS, SHAPES = list(vocabulary.COLOURS), list(vocabulary.SHAPES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Scenes drawn once: N scenes, at most T things each, masks of M by M cells."""

    images: Tensor  # uint8 (N, 3, side, side)
    colours: NDArray[np.int8]  # (N, T), -1 where there is no thing
    shapes: NDArray[np.int8]  # (N, T)
    boxes: Tensor  # float (N, T, 4): centre x, centre y, width, height in 0..1
    masks: Tensor  # uint8 (N, T, M, M): how much of a cell is covered, 0..255


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """n pictures, and B pairs of one of the first of them and a prompt; T things at most."""

    pixels: Tensor  # (n, 3, side, side) in -1..1
    colours: Tensor  # (n, T), -1 where there is no thing
    shapes: Tensor  # (n, T)
    masks: Tensor  # (n, T, M, M) in 0..1
    rows: Tensor  # (B,) the picture of each pair
    ids: Tensor  # (B, L) token ids
    words: Tensor  # (B, L) True where a token is no padding
    exemplar: Tensor  # (B, 4) box given with the prompt: centre x, centre y, width, height
    boxed: Tensor  # (B,) True where there is such a box
    boxes: Tensor  # (B, T, 4)
    wanted: Tensor  # (B, T) True for the things the prompt asks for


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """One prompt about one picture: a text, perhaps with the box of one thing as an exemplar."""

    text: str
    concept: Concept
    exemplar: int | None = None  # index of a thing


def draw_pool(recipe: tiny_config.Recipe, shard: int) -> Pool:
    """Draw a shard's scenes; the same recipe and shard give the same pool."""
    most, cells = scenes.MAX_OBJECTS, recipe.mask_size
    images = torch.zeros(recipe.scenes, 3, recipe.image_size, recipe.image_size, dtype=torch.uint8)
    colours = np.full((recipe.scenes, most), -1, np.int8)
    shapes = colours.copy()
    boxes = torch.zeros(recipe.scenes, most, 4)
    masks = torch.zeros(recipe.scenes, most, cells, cells, dtype=torch.uint8)
    for number in range(recipe.scenes):
        rng = np.random.default_rng([recipe.seed, 1, shard, number])
        drawn = scenes.scene(rng, recipe.image_size)
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


class Batches:
    """The batches of one shard: batch number n is the same in every run."""

    def __init__(self, recipe: tiny_config.Recipe, shard: int, tokens: "CLIPTokenizer") -> None:
        """Draw the shard's pool of scenes."""
        self._recipe, self._shard, self._tokens = recipe, shard, tokens
        self._pool = draw_pool(recipe, shard)

    def batch(self, number: int) -> Batch:
        """Pick scenes, turn and mirror them, and think of prompts about them."""
        recipe, pool = self._recipe, self._pool
        asked = min(recipe.prompted, recipe.images)
        rng = np.random.default_rng([recipe.seed, 2, self._shard, number])
        chosen = rng.integers(len(pool.images), size=recipe.images)
        turned = [
            _turn(pool, int(i), int(rng.integers(4)), mirror=bool(rng.integers(2))) for i in chosen
        ]
        colours, shapes = pool.colours[chosen], pool.shapes[chosen]
        prompts = [
            prompts_about(rng, colours[row], shapes[row], recipe.prompts) for row in range(asked)
        ]
        rows = torch.arange(asked).repeat_interleave(recipe.prompts)
        flat = [prompt for row in prompts for prompt in row]
        boxes = torch.stack([boxes for _, boxes, _ in turned])[rows]
        text = self._tokens([p.text for p in flat], padding="longest", return_tensors="pt")
        exemplars = [boxes[i, p.exemplar or 0] for i, p in enumerate(flat)]
        gain = torch.from_numpy(rng.uniform(0.85, 1.1, (recipe.images, 1, 1, 1))).float()
        pixels = torch.stack([image for image, _, _ in turned]).float() * gain
        return Batch(
            pixels=pixels.clamp(0, 255) / 127.5 - 1,
            colours=torch.from_numpy(colours).long(),
            shapes=torch.from_numpy(shapes).long(),
            masks=torch.stack([masks for _, _, masks in turned]).float() / 255,
            rows=rows,
            ids=text.input_ids,
            words=text.attention_mask.bool(),
            exemplar=torch.stack(exemplars),
            boxed=torch.tensor([p.exemplar is not None for p in flat]),
            boxes=boxes,
            wanted=torch.from_numpy(
                np.stack(
                    [
                        _fits(p.concept, colours[r], shapes[r])
                        for p, r in zip(flat, rows.tolist(), strict=True)
                    ]
                )
            ),
        )


def _fits(
    concept: Concept, colours: NDArray[np.int8], shapes: NDArray[np.int8]
) -> NDArray[np.bool_]:
    """Tell which of a scene's slots hold a thing that the concept means."""
    wanted: NDArray[np.bool_] = colours >= 0
    if concept.colour is not None:
        wanted = wanted & (colours == COLOURS.index(concept.colour))
    if concept.shape is not None:
        wanted = wanted & (shapes == SHAPES.index(concept.shape))
    return wanted


def _turn(pool: Pool, index: int, quarters: int, *, mirror: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Mirror a scene left to right, then turn it by quarters, counter-clockwise."""
    image, masks, boxes = pool.images[index], pool.masks[index], pool.boxes[index]
    x, y, width, height = boxes.unbind(-1)
    if mirror:
        image, masks, x = image.flip(-1), masks.flip(-1), 1 - x
    for _ in range(quarters):
        x, y, width, height = y, 1 - x, height, width
    image, masks = (torch.rot90(t, quarters, (-2, -1)) for t in (image, masks))
    return image, torch.stack([x, y, width, height], -1), masks


def prompts_about(
    rng: np.random.Generator, colours: NDArray[np.int8], shapes: NDArray[np.int8], count: int
) -> list[Prompt]:
    """Think of prompts about a scene: present, absent, nearly right, and boxes."""
    there = np.flatnonzero(colours >= 0)
    return [_prompt(rng, there, colours, shapes) for _ in range(count)]


def _prompt(
    rng: np.random.Generator,
    there: NDArray[np.intp],
    colours: NDArray[np.int8],
    shapes: NDArray[np.int8],
) -> Prompt:
    kind = rng.random()
    if not len(there) or kind < 0.1:  # any pair at all, nearly always absent
        concept = Concept(colour=_any(rng, COLOURS), shape=_any(rng, SHAPES))
        return Prompt(text=phrase_of(concept, rng), concept=concept)
    slot, other = (int(s) for s in rng.choice(there, 2))
    colour, shape = COLOURS[colours[slot]], SHAPES[shapes[slot]]
    if kind < 0.45:  # nearly right: another shape, another colour, or two things mixed up
        kind = rng.random()
        mixed = SHAPES[shapes[other]] if kind < 0.4 else _any(rng, SHAPES)
        concept = Concept(colour=colour, shape=mixed)
        if kind > 0.7:
            concept = Concept(colour=_any(rng, COLOURS), shape=shape)
        return Prompt(text=phrase_of(concept, rng), concept=concept)
    concept = Concept(colour=colour, shape=shape)
    if kind < 0.56:  # an exemplar box without text means "all that are like this one"
        return Prompt(text=vocabulary.BOX_ONLY, concept=concept, exemplar=slot)
    level = rng.random()
    if level > 0.6:
        concept = (Concept(), Concept(colour=colour), Concept(shape=shape))[rng.integers(3)]
    exemplar = slot if kind < 0.61 else None
    return Prompt(text=phrase_of(concept, rng), concept=concept, exemplar=exemplar)


def phrase_of(concept: Concept, rng: np.random.Generator) -> str:
    """Say the concept, sometimes with a colour or shape word alone."""
    return vocabulary.phrase(concept, rng)


def _any(rng: np.random.Generator, words: list[str]) -> str:
    return words[rng.integers(len(words))]
