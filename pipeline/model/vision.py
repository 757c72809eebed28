"""The vision passes: views of several requests in one pass, each view once, remembered."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import torch

from pipeline.errors import ModelDied
from pipeline.model.batching import BatchSize, share
from pipeline.model.detector import Detector
from pipeline.model.feature_memory import FeatureMemory, Features
from pipeline.model.sam3_request import Row, Sam3Request


#: Pixels in one pass. SAM3's square of 1008 pixels keeps a CPU busy alone (6.8 s; four take four
#: times as long), and the oldest request would wait for its neighbours. Of the tiny model's
#: squares of 112 pixels, eight take 0.78 ms each and one 1.87 ms.
_PIXELS: Final = {"cuda": 4 * 1008**2, "cpu": 8 * 112**2}

#: Views in one pass, however small.
_MOST_VIEWS: Final = 8


class Vision:
    """Has the features of views at hand when rows need them. The model's thread alone calls it."""

    def __init__(self, detector: Detector, memory: FeatureMemory) -> None:
        """See with *detector*, remember in *memory*."""
        self._detector = detector
        self._memory = memory
        pixels = _PIXELS.get(detector.device.type, _PIXELS["cpu"])
        self._size = BatchSize(max(1, min(_MOST_VIEWS, pixels // detector.side**2)))
        self._passes = 0
        self._views = 0

    @property
    def figures(self) -> Mapping[str, float]:
        """Passes, the views in them, and what the memory did."""
        return {
            "vision_passes_total": self._passes,
            "vision_views_total": self._views,
            **self._memory.figures,
        }

    def look(
        self,
        rows: Sequence[Row],
        waiting: Sequence[Sam3Request],
        *,
        remember: bool,
        make_room: Callable[[], None],
    ) -> ModelDied | None:
        """
        See what *rows* need, and fill the pass with what *waiting* requests need next.

        A row whose view could not be seen stays without; its request, or that of another row about
        the same pixels, is closed by then.
        """
        new = self._recall(rows)
        if new and remember:
            self._look_ahead(new, waiting)

        def see(some: list[Row]) -> None:
            """Run one vision pass."""
            features = self._see(some)
            for row, one in zip(some, features, strict=True):
                if remember:
                    self._memory.put(row.view_input.digest, one)
                for same in new[row.view_input.digest]:
                    same.request.seen[same.item.view] = one

        first = [same[0] for same in new.values()]
        return share(first, see, size=self._size, make_room=make_room)

    def forget(self) -> None:
        """Give the device's memory back."""
        self._memory.make_room()

    def _recall(self, rows: Sequence[Row]) -> dict[bytes, list[Row]]:
        """Take from memory what is there; give the rest by digest."""
        new: dict[bytes, list[Row]] = {}
        for row in rows:
            digest = row.view_input.digest
            if row.seen is not None:
                continue
            features = None if digest in new else self._memory.get(digest)
            if features is None:
                new.setdefault(digest, []).append(row)
            else:
                row.request.seen[row.item.view] = features
        return new

    def _look_ahead(self, new: dict[bytes, list[Row]], waiting: Sequence[Sam3Request]) -> None:
        """Add views that will be needed soon, until the last pass is full."""
        room = -len(new) % self._size.now
        for row in _unseen(waiting) if room else ():
            digest = row.view_input.digest
            if digest not in new and digest not in self._memory:
                new[digest] = [row]
                room -= 1
            if not room:
                return

    def _see(self, rows: list[Row]) -> list[Features]:
        """Run the vision encoder once; each answer owns its memory, so that it can be let go."""
        maps = self._detector.see(torch.stack([row.view_input.square for row in rows]))
        self._passes += 1
        self._views += len(rows)
        if len(rows) == 1:
            return [maps]
        return [tuple(one[place : place + 1].clone() for one in maps) for place in range(len(rows))]


def _unseen(requests: Sequence[Sam3Request]) -> Iterator[Row]:
    """Rows whose views are not at hand, oldest request first."""
    for request in requests:
        for item in request.todo:
            if item.view not in request.seen:
                yield Row(request, item)
