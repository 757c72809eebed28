"""Training batches: pictures for vision alone, and pictures with prompts about them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ai import pool, tiny_config, vocabulary
from ai.pool import COLOURS, SHAPES, Pictures
from ai.vocabulary import Concept


if TYPE_CHECKING:
    from transformers import CLIPTokenizer


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
        self._crowded = pool.draw(recipe, shard, crowded=True)
        self._plain = pool.draw(recipe, shard, crowded=False)

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
