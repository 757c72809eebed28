"""The words the tiny model knows, the phrases it is trained on, and its tokenizer."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np


if TYPE_CHECKING:
    from transformers import CLIPTokenizer

#: Colour name -> RGB the scenes are painted with (each object varies a little around it).
COLOURS: Final[dict[str, tuple[int, int, int]]] = {
    "red": (215, 40, 40),
    "green": (40, 170, 60),
    "blue": (45, 80, 215),
    "yellow": (235, 210, 50),
    "purple": (150, 60, 180),
    "white": (240, 240, 240),
}

#: Shape name -> its plural.
SHAPES: Final[dict[str, str]] = {
    "circle": "circles",
    "square": "squares",
    "triangle": "triangles",
    "star": "stars",
}

#: Words that mean "any shape", with their plurals.
ANYTHING: Final[dict[str, str]] = {"shape": "shapes", "object": "objects"}

#: Words that carry no meaning of their own.
ARTICLES: Final[tuple[str, ...]] = ("a", "the", "all")

#: The text that SAM3's processor adds to a box prompt without text.
BOX_ONLY: Final = "visual"

#: Every word the tiny model learns; any other text can be encoded, but means nothing to it.
VOCABULARY: Final[tuple[str, ...]] = (
    *COLOURS,
    *SHAPES,
    *SHAPES.values(),
    *ANYTHING,
    *ANYTHING.values(),
    *ARTICLES,
    BOX_ONLY,
)

#: Tokens a text is padded or cut to: SAM3's text encoder has this many positions.
TEXT_TOKENS: Final = 32

START: Final = "<|startoftext|>"
END: Final = "<|endoftext|>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Concept:
    """What a phrase asks for; ``None`` leaves an attribute open."""

    colour: str | None = None
    shape: str | None = None

    def fits(self, colour: str, shape: str) -> bool:
        """Whether it means an object of this colour and shape."""
        return self.colour in {None, colour} and self.shape in {None, shape}

    @property
    def text(self) -> str:
        """The plain phrase, such as "red circle", "red shape" or "shape"."""
        return f"{self.colour} {self.shape or 'shape'}" if self.colour else self.shape or "shape"


def phrase(concept: Concept, rng: np.random.Generator) -> str:
    """Phrase a concept plainly, in the plural, or with an article."""
    nouns = {concept.shape: SHAPES[concept.shape]} if concept.shape else ANYTHING
    noun = list(nouns)[rng.integers(len(nouns))]
    style = rng.random()
    article = ""
    if style < 0.15:
        article, noun = ("", "all ")[int(rng.integers(2))], nouns[noun]
    elif style < 0.3:
        article = ("a ", "the ")[int(rng.integers(2))]
    return article + (f"{concept.colour} {noun}" if concept.colour else noun)


def every_pair() -> list[Concept]:
    """List all colour and shape pairs, in a fixed order."""
    return [Concept(colour=colour, shape=shape) for colour in COLOURS for shape in SHAPES]


def tokenizer() -> "CLIPTokenizer":
    """Build CLIP's byte-level BPE with one merge chain per known word, so a word is one token."""
    from transformers import CLIPTokenizer

    tokens = _byte_characters()
    tokens += [character + "</w>" for character in tokens]
    merges: list[tuple[str, str]] = []
    seen = set(tokens)
    for word in VOCABULARY:
        head, *tail = *word[:-1], word[-1] + "</w>"
        for part in tail:
            if head + part not in seen:
                merges.append((head, part))
                tokens.append(head + part)
                seen.add(head + part)
            head += part
    tokens += [START, END]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=TEXT_TOKENS)


def _byte_characters() -> list[str]:
    """GPT-2's table: a printable character for each of the 256 bytes (CLIP's tokens use it)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in printable]
    return [chr(code) for code in [*printable, *range(256, 256 + len(rest))]]
