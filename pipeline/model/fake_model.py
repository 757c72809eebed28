"""
A fake of SAM3 without weights and torch, for tests of the other packages.

It finds areas of one plain colour. A colour word in a prompt chooses that colour; without one,
"shape", "object" or "thing" choose any colour; a positive box chooses the colour in its middle.
All other prompts find nothing. The same picture and prompt always give the same answer.
`SAM3_WEIGHTS_PATH=fake:` chooses it, and `ModelInfo` names it.

Four words simulate what a GPU may do: `fake:wait=0.5` keeps the model busy for half a second,
`fake:oom` runs out of memory, `fake:oom-once` does so unless the request is frugal, `fake:die`
loses the GPU.
"""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.errors import ModelDied, OutOfMemory
from pipeline.model.segmentation_model import ModelRequest, RequestContext
from pipeline.model.work_items import View, clip_box, prompt_text, views
from s3_sam3.contracts.manifest import Candidate, ModelInfo, PromptResult
from s3_sam3.contracts.prompts import BoxLabel, Prompt, SegmentOptions, with_ids
from s3_sam3.imaging import rle
from s3_sam3.imaging.choose import Found, choose


#: Value of `SAM3_WEIGHTS_PATH` that chooses the fake model.
PATH: Final = "fake:"

#: Hue in degrees of each colour word.
_HUES: Final = {
    "red": 0,
    "orange": 30,
    "yellow": 55,
    "green": 120,
    "cyan": 180,
    "blue": 225,
    "purple": 280,
    "pink": 320,
}

_WAIT: Final = re.compile(r"fake:wait=(\d{1,4}(?:\.\d+)?)")
_OOM: Final = "fake:oom"
_OOM_ONCE: Final = "fake:oom-once"
_DIE: Final = "fake:die"

#: Longest wait of one prompt, in seconds.
_LONGEST_WAIT: Final = 60.0

_ANY: Final = {"shape", "shapes", "object", "objects", "thing", "things"}

#: Saturation and value (0..1) from which a pixel has a colour at all.
_COLOURED: Final = 0.35

#: An area smaller than this share of the picture is noise.
_SMALLEST: Final = 1e-4

Mask = NDArray[np.bool_]


class FakeRequest(ModelRequest):
    """The colour of each pixel, and the colours that each prompt wants."""

    def __init__(
        self,
        options: SegmentOptions,
        context: RequestContext,
        *,
        colours: NDArray[np.int8],
        asked: tuple[tuple[Prompt, frozenset[int]], ...],
    ) -> None:
        """Take *colours*, (height, width): index into _HUES, -1 without colour."""
        super().__init__(options, context)
        self.colours = colours
        self.asked = asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """A connected area: its box, and its pixels in the box."""

    rows: slice
    columns: slice
    inside: Mask


class FakeSegmenter:
    """Finds areas of one plain colour."""

    def __init__(self) -> None:
        self.info = ModelInfo(
            name="fake",
            revision="none",
            dtype="float32",
            device="cpu",
            code_version=metadata.version("s3-sam3"),
            demo=True,
        )

    @property
    def figures(self) -> Mapping[str, float]:
        return {}

    def prepare(
        self,
        picture: Image.Image,
        prompts: tuple[Prompt, ...],
        options: SegmentOptions,
        context: RequestContext,
    ) -> FakeRequest:
        """Name the colour of each pixel; pixels outside of the region have none."""
        view = views(picture.width, picture.height, options)[0]
        colours = np.full((picture.height, picture.width), -1, np.int8)
        inside = np.s_[view.top : view.bottom, view.left : view.right]
        colours[inside] = _colours(picture)[inside]
        asked = tuple((prompt, _wanted(prompt, colours, view)) for prompt in with_ids(prompts))
        return FakeRequest(options, context, colours=colours, asked=asked)

    def find(self, requests: Sequence[FakeRequest]) -> None:
        """Finish the first request, prompt by prompt; the other two steps do the work."""
        request = requests[0]
        request.begin()
        with request.blamed():
            for prompt, _ in request.asked:
                request.context.check()
                _behave(prompt, request.context)
                request.context.advance(1)
            request.close()

    def trace(self, request: FakeRequest) -> tuple[PromptResult, ...]:
        """Find areas of the wanted colours, and choose among them as for the real model."""
        found: list[Found] = []
        for prompt, colours in request.asked:
            request.context.check()
            found.append(_found(prompt, colours, request.colours))
        return choose(found, request.options)


def _behave(prompt: Prompt, context: RequestContext) -> None:
    """Do what the prompt's special words say."""
    for word in (prompt.text or "").lower().split():
        if word == _OOM or (word == _OOM_ONCE and not context.frugal):
            raise OutOfMemory
        if word == _DIE:
            raise ModelDied
        if wait := _WAIT.fullmatch(word):
            time.sleep(min(float(wait[1]), _LONGEST_WAIT))


def _colours(picture: Image.Image) -> NDArray[np.int8]:
    """Index into _HUES per pixel, -1 for grey, black and white."""
    hue, saturation, value = np.moveaxis(np.asarray(picture.convert("HSV")), 2, 0)
    turn = np.arange(256)[:, None] / 256 * 360 - np.array(list(_HUES.values()))
    nearest = np.abs((turn + 180) % 360 - 180).argmin(axis=1).astype(np.int8)
    least = _COLOURED * 255
    return np.where((saturation >= least) & (value >= least), nearest[hue], np.int8(-1))


def _wanted(prompt: Prompt, colours: NDArray[np.int8], view: View) -> frozenset[int]:
    """Choose colours by the prompt's words and boxes."""
    words = set((prompt_text(prompt) or "").lower().split())
    wanted = {place for place, name in enumerate(_HUES) if name in words}
    if not wanted and words & _ANY:
        wanted = set(range(len(_HUES)))
    for box in prompt.boxes:
        left, top, right, bottom = clip_box(box, view)
        middle = int(colours[int((top + bottom) / 2), int((left + right) / 2)])
        wanted = wanted | {middle} if box.label is BoxLabel.POSITIVE else wanted - {middle}
    return frozenset(wanted - {-1})


def _found(prompt: Prompt, wanted: frozenset[int], colours: NDArray[np.int8]) -> Found:
    """Find all areas for one prompt, with any score."""
    areas = [area for colour in sorted(wanted) for area in _areas(colours == colour)]
    return Found(
        id=prompt.id or "",
        text=prompt_text(prompt),
        presence=1.0 if areas else 0.0,
        threshold=prompt.threshold,
        more=False,
        candidates=tuple(_candidate(area, colours.shape) for area in areas),
    )


def _areas(mask: Mask) -> Iterator[Area]:
    """Connected areas that are more than noise, in reading order."""
    from scipy import ndimage

    labels, _ = ndimage.label(mask)
    least = max(4, int(mask.size * _SMALLEST))
    for number, (rows, columns) in enumerate(ndimage.find_objects(labels), 1):
        inside = labels[rows, columns] == number
        if inside.sum() >= least:
            yield Area(rows=rows, columns=columns, inside=inside)


def _score(area: Area) -> float:
    """Give 0.5, plus half of the share of its box that the area fills: 0.5..1."""
    return round(0.5 + 0.5 * float(area.inside.mean()), 6)


def _candidate(area: Area, shape: tuple[int, ...]) -> Candidate:
    """Turn one area of a picture of *shape* (height, width) into a candidate."""
    mask = np.zeros(shape[::-1], np.uint8)  # width first: column-major, as run lengths are
    mask[area.columns, area.rows] = area.inside.T
    [(lengths, pixels)] = rle.encode(mask[None])
    left, right, top, bottom = (
        float(end) for side in (area.columns, area.rows) for end in (side.start, side.stop)
    )
    return Candidate(score=_score(area), box=(left, top, right, bottom), area=pixels, rle=lengths)
