"""The overlay, for people: the picture with its instances tinted, outlined and named."""

from collections.abc import Sequence
from io import BytesIO
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from contracts.manifest import Instance, PromptResult
from masks.label_map import Labels


#: Okabe and Ito's palette, which people with colour blindness can tell apart; without black.
PALETTE: Final = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)

#: Share of an instance's colour in its pixels.
_TINT: Final = 0.45

#: WebP cannot be larger along one side (pixels).
_WEBP_SIDE: Final = 16383

_WEBP_QUALITY: Final = 85

#: Effort of the encoder, 0..6: 2 takes half the time of Pillow's default for 3 % more bytes.
_WEBP_METHOD: Final = 2

#: Luminance (0..255) above which black text reads better than white.
_BRIGHT: Final = 140

_DEMO_NOTE: Final = "demo model"

Box = tuple[float, float, float, float]


def overlay_webp(
    picture: Image.Image, labels: Labels, results: Sequence[PromptResult], *, demo: bool
) -> bytes:
    """
    Draw the instances over the picture: tint, contour, and a tag with prompt and score.

    At the picture's size, unless a side is longer than WebP can be. One prompt: a colour per
    instance; several: a colour per prompt.
    """
    colours = _colours(results)
    canvas = Image.fromarray(_painted(np.asarray(picture), labels, colours))
    unit = max(1, round(min(picture.size) / 400))
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(size=max(11, round(min(picture.size) / 42)))
    if demo:
        _draw_note(draw, font, picture.size)
    _draw_tags(draw, font, results, colours, unit)
    if max(canvas.size) > _WEBP_SIDE:
        canvas.thumbnail((_WEBP_SIDE, _WEBP_SIDE))
    stream = BytesIO()
    canvas.save(stream, "WEBP", quality=_WEBP_QUALITY, method=_WEBP_METHOD)
    return stream.getvalue()


def _colours(results: Sequence[PromptResult]) -> NDArray[np.uint8]:
    """Colour of each label, black for the background: (labels + 1, 3)."""
    rows = [(0, 0, 0)]
    for place, result in enumerate(results):
        for instance in result.instances:
            chosen = place if len(results) > 1 else instance.label - 1
            rows.append(PALETTE[chosen % len(PALETTE)])
    return np.array(rows, np.uint8)


def _painted(
    picture: NDArray[np.uint8], labels: Labels, colours: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Tint the instances and draw their contours, in one pass over the whole picture."""
    height, width = labels.shape
    painted = picture.copy()
    covered = labels > 0
    paint = colours[labels[covered]].astype(np.float32)
    painted[covered] = (paint * _TINT + picture[covered] * (1 - _TINT)).astype(np.uint8)
    reach = max(1, round(min(height, width) / 300))
    edges, halo = _edges(labels, reach), _edges(labels, 2 * reach)
    painted[halo] = 255  # white under the colour keeps a contour visible on its own colour
    painted[edges] = colours[labels[edges]]
    return painted


def _edges(labels: Labels, reach: int) -> NDArray[np.bool_]:
    """Pixels of instances that lie within *reach* pixels of another label."""
    edges = np.zeros(labels.shape, np.bool_)
    for step in range(1, reach + 1):
        for axis in (0, 1):
            one = np.swapaxes(labels, 0, axis)
            out = np.swapaxes(edges, 0, axis)
            differs = one[step:] != one[:-step]
            out[step:] |= differs
            out[:-step] |= differs
    return edges & (labels > 0)


def _draw_tags(
    draw: ImageDraw.ImageDraw,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    results: Sequence[PromptResult],
    colours: NDArray[np.uint8],
    unit: int,
) -> None:
    """Tag instances best first; a tag that would cover an earlier one is left out."""
    taken: list[Box] = []
    tags = [(result, instance) for result in results for instance in result.instances]
    for result, instance in sorted(tags, key=lambda tag: -tag[1].score):
        text = f"{_shortened(result.text or result.id)} {instance.score:.2f}"
        box = _free_place(draw, font, text, instance, taken, unit)
        if box is None:
            continue
        taken.append(box)
        red, green, blue = (int(value) for value in colours[instance.label])
        draw.rounded_rectangle(box, radius=2 * unit, fill=(red, green, blue))
        bright = 0.299 * red + 0.587 * green + 0.114 * blue > _BRIGHT
        middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
        draw.text(middle, text, font=font, anchor="mm", fill="black" if bright else "white")


def _shortened(text: str, most: int = 32) -> str:
    """Keep a tag short."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _free_place(
    draw: ImageDraw.ImageDraw,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    text: str,
    instance: Instance,
    taken: Sequence[Box],
    unit: int,
) -> Box | None:
    """Find room for a tag: above its box, below, or in its upper edge; None if all is taken."""
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    width, height = right - left + 8 * unit, bottom - top + 6 * unit
    picture_width, picture_height = draw.im.size
    x = min(max(instance.box[0], 0), max(picture_width - width, 0))
    for y in (instance.box[1] - height, instance.box[3], instance.box[1]):
        place = (x, y, x + width, y + height)
        if 0 <= y <= picture_height - height and not any(_touch(place, other) for other in taken):
            return place
    return None


def _touch(one: Box, other: Box) -> bool:
    """Whether two boxes share a pixel."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _draw_note(
    draw: ImageDraw.ImageDraw,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    size: tuple[int, int],
) -> None:
    """Say in the lower right corner that the demo model drew this."""
    left, top, right, bottom = draw.textbbox((0, 0), _DEMO_NOTE, font=font)
    pad = (bottom - top) / 2
    corner = (size[0] - (right - left) - 2 * pad, size[1] - (bottom - top) - 2 * pad)
    draw.rectangle((*corner, *size), fill=(40, 40, 40))
    middle = ((corner[0] + size[0]) / 2, (corner[1] + size[1]) / 2)
    draw.text(middle, _DEMO_NOTE, font=font, anchor="mm", fill="white")
