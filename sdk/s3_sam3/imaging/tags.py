"""The overlay's colours, and its tags: each beside its instance, none over another."""

import math
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from PIL import ImageDraw, ImageFont

from s3_sam3.contracts.manifest import Instance, PromptResult
from s3_sam3.imaging.label_map import Labels


Colour = tuple[int, int, int]

#: First Okabe and Ito's seven, which colour-blind people can tell apart; then others, far from them
#: and from each other.
COLOURS: Final[tuple[Colour, ...]] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
    (145, 30, 180),
    (160, 220, 40),
    (230, 25, 75),
    (0, 225, 205),
    (154, 99, 36),
    (240, 50, 230),
    (170, 255, 195),
    (0, 0, 180),
    (255, 190, 190),
)

#: Luma (0..255) above which black letters are easier to read than white ones.
_BRIGHT: Final = 140


def ink(colour: Colour) -> Colour:
    """Black or white: the one that is easier to read on *colour*."""
    red, green, blue = colour
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return (0, 0, 0) if luma > _BRIGHT else (255, 255, 255)


#: Characters of a prompt's text that a tag shows.
_MOST_CHARACTERS: Final = 32

#: About the last letter of Pillow's own font: Latin with its accents.
_LAST_LATIN: Final = 0x24F

_DEMO_NOTE: Final = "demo model"
_GREY: Final = (40, 40, 40)

#: A tag stays at the first place where it covers instances by less than this share of itself.
_HARMLESS: Final = 0.03
#: Above this share the shorter tag, the score alone, is tried.
_CROWDED: Final = 0.15

#: Weight of a tag's own instance under it, against that of another.
_OWN: Final = 0.25

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Box = tuple[float, float, float, float]


class Pen:
    """Writes tags, and measures what they cover."""

    def __init__(self, draw: ImageDraw.ImageDraw, labels: Labels) -> None:
        self.height, self.width = labels.shape
        # Legible when the whole picture is fitted to a screen.
        size = max(11, round(min(self.height, self.width) / 45))
        self._draw = draw
        self._font = ImageFont.load_default(size=size)
        self._pad = size / 5
        # Measured with the tallest letters, so that all tags have one height.
        _, top, _, bottom = draw.textbbox((0, 0), "Áy0", font=self._font)
        self._tall = bottom - top + 1.5 * self._pad
        # A few points across a tag's height are enough to measure what it covers.
        self._step = max(1, size // 6)
        self._labels = labels[:: self._step, :: self._step]
        self._written = np.zeros(self._labels.shape, np.bool_)

    def room(self, text: str) -> tuple[float, float]:
        left, _, right, _ = self._draw.textbbox((0, 0), text, font=self._font)
        return right - left + 3 * self._pad, self._tall

    def hides(self, box: Box, label: int) -> float:
        """Share of a tag that covers instances, its own one weighted less; infinite over a tag."""
        at = self._points(box)
        if np.count_nonzero(self._written[at]):  # half the time of any()
            return math.inf
        under = self._labels[at]
        if not under.size:
            return 0.0
        own = np.count_nonzero(under == label)
        return (np.count_nonzero(under) - (1 - _OWN) * own) / under.size

    def write(self, box: Box, text: str, colour: Colour) -> None:
        self._written[self._points(box)] = True
        self._draw.rounded_rectangle(box, radius=self._pad, fill=colour)
        middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
        self._draw.text(middle, text, font=self._font, anchor="mm", fill=ink(colour))

    def _points(self, box: Box) -> tuple[slice, slice]:
        """Which points lie in a box, its ends included."""
        left, top, right, bottom = box
        step = self._step
        return (
            slice(int(top / step), int(bottom / step) + 1),
            slice(int(left / step), int(right / step) + 1),
        )


def draw_tags(
    pen: Pen, results: Sequence[PromptResult], colours: Sequence[int], *, demo: bool
) -> None:
    """
    Name the instances, best first: prompt and score, or the score alone where space is short.

    A tag is put where it covers least, and never over another; one that finds no place is left out.
    *colours* has an index into COLOURS for each label.
    """
    if demo:
        width, height = pen.room(_DEMO_NOTE)
        corner = (pen.width - width, pen.height - height, pen.width, pen.height)
        pen.write(corner, _DEMO_NOTE, _GREY)
    tags = [(result, instance) for result in results for instance in result.instances]
    for result, instance in sorted(tags, key=lambda tag: -tag[1].score):
        score = f"{instance.score:.2f}"
        best = _place(pen, f"{_name(result)} {score}", instance)
        if best[0] > _CROWDED:
            best = min(best, _place(pen, score, instance))
        hidden, box, text = best
        if hidden < math.inf:
            pen.write(box, text, COLOURS[colours[instance.label - 1]])


def _place(pen: Pen, text: str, instance: Instance) -> tuple[float, Box, str]:
    """Find where a tag covers least; give how much (infinite: no place), its box, and the text."""
    width, height = pen.room(text)
    best: tuple[float, Box, str] = (math.inf, (0, 0, 0, 0), text)
    for x, y in _corners(instance.box, width, height):
        left = min(max(x, 0), pen.width - width)
        box = (left, y, left + width, y + height)
        if left >= 0 and 0 <= y <= pen.height - height:
            best = min(best, (pen.hides(box, instance.label), box, text))
        if best[0] <= _HARMLESS:
            break
    return best


def _name(result: PromptResult) -> str:
    """A prompt's text, shortened; its id if the font lacks a letter."""
    text = result.text or result.id
    if any(ord(letter) > _LAST_LATIN for letter in text):
        text = result.id
    return text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 1]}…"


def _corners(box: Box, width: float, height: float) -> Iterator[tuple[float, float]]:
    """Places around a box, best first: above, below, inside; left, middle, right."""
    left, top, right, bottom = box
    for y in (top - height, bottom, top, bottom - height, (top + bottom - height) / 2):
        for x in (left, (left + right - width) / 2, right - width):
            yield x, y
