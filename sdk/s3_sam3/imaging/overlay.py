"""The overlay, for people: the picture with its instances tinted, with contours and tags."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import chain
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from s3_sam3.contracts.manifest import PromptResult
from s3_sam3.imaging.label_map import Labels
from s3_sam3.imaging.tags import COLOURS, Colour, Pen, draw_tags


#: WebP cannot be larger along one side (pixels).
_WEBP_SIDE: Final = 16383

_WEBP_QUALITY: Final = 85

#: Effort of the encoder, 0..6: 0 takes two thirds of the time of 2, gives 17 % more bytes and looks
#: the same (0.03 dB).
_WEBP_METHOD: Final = 0

#: Colour of a thin line around instances: the first of the palette.
_HALO: Final = (255, 255, 255)

#: Labels that a palette can hold beside the background.
_MOST_PALETTE: Final = 255

#: Opacity of the halo: enough to separate a contour from a background of its own colour.
_HALO_SHARE: Final = 0.75

#: Rows of a band. Bands avoid further copies of large pictures in memory.
_ROWS: Final = 256

_Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlayStyle:
    tint: float = 0.4
    """Share of an instance's colour in its pixels, 0..1; 0 leaves the picture as it is."""
    contour: int | None = None
    """Width in pixels; 0: none; None: by the picture's size."""
    tags: bool = True
    """Whether prompt and score are written beside the instances."""
    colours: Literal["auto", "instance", "prompt"] = "auto"
    """What has a colour of its own. `auto`: the prompts if there are several, else instances."""

    def __post_init__(self) -> None:
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

    *labels* is (height, width), as `label_map` gives it; *demo* notes the demo model in a corner.
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
    """
    Draw an overlay and encode it, at the picture's size.

    WebP's sides end at 16,383 pixels: a larger overlay is scaled down.
    """
    canvas = overlay(picture, labels, results, style=style, demo=demo)
    if max(canvas.size) > _WEBP_SIDE:
        canvas.thumbnail((_WEBP_SIDE, _WEBP_SIDE))
    stream = BytesIO()
    canvas.save(stream, "WEBP", quality=_WEBP_QUALITY, method=_WEBP_METHOD)
    return stream.getvalue()


def _colours(results: Sequence[PromptResult], style: OverlayStyle) -> list[int]:
    several = len(results) > 1 if style.colours == "auto" else style.colours == "prompt"
    return by_prompt(results) if several else by_instance(results)


def by_prompt(results: Sequence[PromptResult]) -> list[int]:
    """Give each instance, in the order of labels, its prompt's colour."""
    return [place % len(COLOURS) for place, result in enumerate(results) for _ in result.instances]


def by_instance(results: Sequence[PromptResult]) -> list[int]:
    """Give each instance, in the order of labels, a colour that no intersecting box has."""
    instances = [instance for result in results for instance in result.instances]
    boxes = np.array([one.box for one in instances]).reshape(-1, 4)
    chosen: list[int] = []
    for place in range(len(instances)):
        taken = {chosen[other] for other in _meeting(boxes, place)}
        order = (index % len(COLOURS) for index in range(place, place + len(COLOURS)))
        chosen.append(next((one for one in order if one not in taken), place % len(COLOURS)))
    return chosen


def _meeting(boxes: NDArray[np.float64], place: int) -> NDArray[np.intp]:
    """Which boxes before *place* intersect its box."""
    box, earlier = boxes[place], boxes[:place]
    gaps = np.maximum(earlier[:, :2], box[:2]) - np.minimum(earlier[:, 2:], box[2:])
    return np.flatnonzero(gaps.max(axis=1, initial=-np.inf) <= 0)


def _painted(
    picture: Image.Image, labels: Labels, colours: Sequence[int], style: OverlayStyle
) -> Image.Image:
    """Tint the instances and draw their contours, band by band."""
    width = _contour(picture.size) if style.contour is None else style.contour
    reach = width + width // 3
    canvas = picture.copy()
    for top in range(0, picture.height, _ROWS):
        bottom = min(top + _ROWS, picture.height)
        above = min(top, reach)
        seen = labels[top - above : bottom + reach]
        filled = np.flatnonzero(seen.any(axis=0))
        if not len(filled):
            continue
        left = max(int(filled[0]) - reach, 0)
        seen = seen[:, left : int(filled[-1]) + 1 + reach]
        part = slice(above, above + bottom - top)
        share = Image.fromarray(_share(seen, style.tint, width)[part])
        canvas.paste(_flat(seen[part], colours), (left, top), share)
    return canvas


def _flat(labels: Labels, colours: Sequence[int]) -> Image.Image:
    """Give each label its full colour, as RGB, and the background the halo's."""
    hues: Sequence[Colour] = [COLOURS[colour] for colour in colours]
    if len(hues) > _MOST_PALETTE:
        hues = COLOURS
        labels = np.array([0, *(colour + 1 for colour in colours)], np.uint8)[labels]
    flat = Image.fromarray(np.ascontiguousarray(labels, np.uint8))
    flat.putpalette(bytes(chain(_HALO, *hues)))
    return flat.convert("RGB")


def _share(labels: Labels, tint: float, width: int) -> NDArray[np.uint8]:
    """The share of its instance's colour, or of the halo, in each pixel: 0..255."""
    covered = labels != 0
    share = covered.view(np.uint8) * np.uint8(round(255 * tint))
    if width:
        near = _spread(_seams(labels), width // 3)
        halo = (near > covered).view(np.uint8)
        line = (_spread(near, width - 1 - width // 3) & covered).view(np.uint8)
        share |= halo * np.uint8(round(255 * _HALO_SHARE))
        share |= line * np.uint8(255)
    return np.asarray(share, np.uint8)


def _contour(size: tuple[int, int]) -> int:
    """A contour's width in pixels that is visible when the picture is fitted to a screen."""
    return max(1, round(min(size) / 300))


def _seams(labels: Labels) -> _Flags:
    """Pixels with another label beside them."""
    seams = np.zeros(labels.shape, np.bool_)
    rows, columns = labels[1:] != labels[:-1], labels[:, 1:] != labels[:, :-1]
    seams[1:] |= rows
    seams[:-1] |= rows
    seams[:, 1:] |= columns
    seams[:, :-1] |= columns
    return seams


def _spread(flags: _Flags, reach: int) -> _Flags:
    """Grow each flag to a square that reaches *reach* pixels to each side."""
    for axis in (0, 1):
        grown = 0
        while grown < reach:
            # Each step may be as wide as what has grown already, so three steps reach 13 pixels.
            step = min(2 * grown + 1, reach - grown)
            wider = flags.copy()
            one, other = np.swapaxes(wider, 0, axis), np.swapaxes(flags, 0, axis)
            one[step:] |= other[:-step]
            one[:-step] |= other[step:]
            flags, grown = wider, grown + step
    return flags
