"""Vision passes: views of several requests in one pass, each view once, and remembered."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import torch

from pipeline.errors import ModelDied
from pipeline.model.batching import BatchSize, run_batches
from pipeline.model.detector import Detector
from pipeline.model.feature_memory import FeatureMemory, Features
from pipeline.model.sam3_request import Row, Sam3Request


#: Pixels in one pass. One of SAM3's squares of 1008 pixels keeps a CPU busy (6.8 s; four take four
#: times as long), and the oldest request would wait for the others. Eight of the tiny model's
#: squares of 112 pixels take 0.78 ms each, one alone 1.87 ms.
_PIXELS: Final = {"cuda": 4 * 1008**2, "cpu": 8 * 112**2}

#: Views in one pass, however small.
_MOST_VIEWS: Final = 8


class Vision:
    """Computes the features that rows need. Only the model's thread calls it."""

    def __init__(self, detector: Detector, memory: FeatureMemory) -> None:
        self._detector = detector
        self._memory = memory
        pixels = _PIXELS.get(detector.device.type, _PIXELS["cpu"])
        self._size = BatchSize(max(1, min(_MOST_VIEWS, pixels // detector.side**2)))
        self._passes = 0
        self._views = 0

    @property
    def figures(self) -> Mapping[str, float]:
        """Passes, the views in them, and the memory's figures."""
        return {
            "vision_passes_total": self._passes,
            "vision_views_total": self._views,
            **self._memory.figures,
        }

    def see(
        self,
        rows: Sequence[Row],
        waiting: Sequence[Sam3Request],
        *,
        remember: bool,
        make_room: Callable[[], None],
    ) -> ModelDied | None:
        """
        Compute the features of *rows*, and fill the pass with what *waiting* requests need next.

        When a view fails, its row stays without features, and its request, or another about the
        same pixels, is closed.
        """
        new = self._recall(rows)
        if new and remember:
            self._look_ahead(new, waiting)

        def see(batch: list[Row]) -> None:
            for row, features in zip(batch, self._see(batch), strict=True):
                if remember:
                    self._memory.put(row.view_input.digest, features)
                for same in new[row.view_input.digest]:
                    same.request.features[same.item.view] = features

        first = [same[0] for same in new.values()]
        return run_batches(first, see, size=self._size, make_room=make_room)

    def forget(self) -> None:
        """Free the device's memory."""
        self._memory.make_room()

    def _recall(self, rows: Sequence[Row]) -> dict[bytes, list[Row]]:
        """Take from memory what is there; give the other rows by digest."""
        new: dict[bytes, list[Row]] = {}
        for row in rows:
            digest = row.view_input.digest
            if row.features is not None:
                continue
            features = None if digest in new else self._memory.get(digest)
            if features is None:
                new.setdefault(digest, []).append(row)
            else:
                row.request.features[row.item.view] = features
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
        """Run the vision encoder once; copies let each row's memory be freed alone."""
        maps = self._detector.see(torch.stack([row.view_input.square for row in rows]))
        self._passes += 1
        self._views += len(rows)
        if len(rows) == 1:
            return [maps]
        return [tuple(one[place : place + 1].clone() for one in maps) for place in range(len(rows))]


def _unseen(requests: Sequence[Sam3Request]) -> Iterator[Row]:
    """Rows whose views have no features yet, oldest request first."""
    for request in requests:
        for item in request.todo:
            if item.view not in request.features:
                yield Row(request, item)
