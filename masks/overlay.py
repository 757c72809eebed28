"""The overlay, for people: the picture with its instances tinted, outlined and named."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from contracts.manifest import PromptResult
from masks import palette
from masks.label_map import Labels
from masks.tags import Pen, draw_tags


#: WebP cannot be larger along one side (pixels).
_WEBP_SIDE: Final = 16383

_WEBP_QUALITY: Final = 85

#: Effort of the encoder, 0..6: 2 takes half the time of Pillow's default for 3 % more bytes.
_WEBP_METHOD: Final = 2

#: What is behind the colours in the paint's palette.
_NOTHING: Final = 254
_HALO: Final = 255

#: How much of the halo is seen: enough to part a contour from a ground of its own colour.
_HALO_SHARE: Final = 0.75

#: Rows of a band. Bands keep large pictures out of memory a second, third and fourth time.
_ROWS: Final = 256

_Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlayStyle:
    """How an overlay looks."""

    tint: float = 0.4
    """Share of an instance's colour in its pixels, 0..1; 0 leaves the picture visible in full."""
    contour: int | None = None
    """Width in pixels; 0: none; None: by the picture's size."""
    tags: bool = True
    """Whether prompt and score are written beside the instances."""
    colours: Literal["auto", "instance", "prompt"] = "auto"
    """What has a colour of its own. `auto`: the prompts, when there are several."""

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        if not 0 <= self.tint <= 1 or (self.contour or 0) < 0:
            msg = "tint must be 0 to 1, contour 0 or more"
            raise ValueError(msg)


PLAIN: Final = OverlayStyle()
"""The style of the overlay that comes with each result."""


def overlay(
    picture: Image.Image,
    labels: Labels,
    results: Sequence[PromptResult],
    *,
    style: OverlayStyle = PLAIN,
    demo: bool = False,
) -> Image.Image:
    """
    Draw the instances over an RGB picture, at its size.

    *labels* is (height, width), as `label_map` gives it; *demo* says in a corner who drew it.
    """
    colours = _colours(results, style)
    canvas = _painted(picture, labels, colours, style)
    draw = ImageDraw.Draw(canvas)
    draw_tags(Pen(draw, labels), results if style.tags else (), colours, demo=demo)
    return canvas


def overlay_webp(
    picture: Image.Image,
    labels: Labels,
    results: Sequence[PromptResult],
    *,
    style: OverlayStyle = PLAIN,
    demo: bool = False,
) -> bytes:
    """Draw an overlay and write it; made smaller when a side is longer than WebP can be."""
    canvas = overlay(picture, labels, results, style=style, demo=demo)
    if max(canvas.size) > _WEBP_SIDE:
        canvas.thumbnail((_WEBP_SIDE, _WEBP_SIDE))
    stream = BytesIO()
    canvas.save(stream, "WEBP", quality=_WEBP_QUALITY, method=_WEBP_METHOD)
    return stream.getvalue()


def _colours(results: Sequence[PromptResult], style: OverlayStyle) -> list[int]:
    """Choose a colour for each label."""
    several = len(results) > 1 if style.colours == "auto" else style.colours == "prompt"
    return palette.by_prompt(results) if several else palette.by_instance(results)


def _painted(
    picture: Image.Image, labels: Labels, colours: Sequence[int], style: OverlayStyle
) -> Image.Image:
    """Tint the instances and draw their contours, a band of the picture at once."""
    width = _contour(picture.size) if style.contour is None else style.contour
    reach = width + width // 3
    canvas = picture.copy()
    for top in range(0, picture.height, _ROWS):
        bottom = min(top + _ROWS, picture.height)
        above = min(top, reach)
        seen = labels[top - above : bottom + reach]
        box = (0, top, picture.width, bottom)
        paint, share = _paint(seen, colours, style.tint, width)
        part = slice(above, above + bottom - top)
        flat = Image.fromarray(paint[part])
        flat.putpalette(_palette())
        canvas.paste(flat.convert("RGB"), box, Image.fromarray(share[part]))
    return canvas


def _paint(
    labels: Labels, colours: Sequence[int], tint: float, width: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Say which colour each pixel gets, and how much of it (0..255)."""
    paint = np.array([_NOTHING, *colours], np.uint8)[labels]
    share = np.array([0] + [round(255 * tint)] * len(colours), np.uint8)[labels]
    if width:
        covered, seams = labels > 0, _seams(labels)
        share[_spread(seams, width - 1) & covered] = 255
        halo = _spread(seams, width // 3) & ~covered
        paint[halo] = _HALO
        share[halo] = round(255 * _HALO_SHARE)
    return paint, share


def _palette() -> bytes:
    """The colours, and white for the halo, as Pillow's palettes are: 256 times RGB."""
    rows = np.full((256, 3), 255, np.uint8)
    rows[: len(palette.COLOURS)] = palette.COLOURS
    return rows.tobytes()


def _contour(size: tuple[int, int]) -> int:
    """Width that can be seen when the picture is shown on a screen, in pixels."""
    return max(1, round(min(size) / 300))


def _seams(labels: Labels) -> _Flags:
    """Pixels that have another label beside them."""
    seams = np.zeros(labels.shape, np.bool_)
    rows, columns = labels[1:] != labels[:-1], labels[:, 1:] != labels[:, :-1]
    seams[1:] |= rows
    seams[:-1] |= rows
    seams[:, 1:] |= columns
    seams[:, :-1] |= columns
    return seams


def _spread(flags: _Flags, reach: int) -> _Flags:
    """Add what lies within *reach* pixels along rows and columns: a square around each."""
    for axis in (0, 1):
        grown = 0
        while grown < reach:
            # What is grown already is as wide as twice itself and one; so three steps grow by 13.
            step = min(2 * grown + 1, reach - grown)
            wider = flags.copy()
            one, other = np.swapaxes(wider, 0, axis), np.swapaxes(flags, 0, axis)
            one[step:] |= other[:-step]
            one[:-step] |= other[step:]
            flags, grown = wider, grown + step
    return flags
