"""What the model still has to do for a request, and the rows that it takes on next."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import torch

from pipeline.model.asked import Asked
from pipeline.model.errand import Errand
from pipeline.model.feature_memory import Features
from pipeline.model.order import Order
from pipeline.model.outlining import Outlining
from pipeline.model.views import View
from s3_sam3.contracts.prompts import SegmentOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """A view as the model looks at it."""

    view: View
    square: torch.Tensor
    """(3, side, side) uint8, on the CPU."""
    digest: bytes
    """Of scope and square: the same pixels have the same vision features."""


class Sam3Order(Order):
    """A request for SAM3; the model's thread alone writes to it."""

    def __init__(
        self,
        options: SegmentOptions,
        errand: Errand,
        *,
        size: tuple[int, int],
        sights: Mapping[int, Sight],
        asked: Sequence[Asked],
    ) -> None:
        """Have all of *asked* about a picture of *size* (width, height) to do, view by view."""
        super().__init__(options, errand)
        self.size = size
        #: By the view's place; without the views that nobody asks about.
        self.sights = sights
        #: By view; held from the vision pass until no row needs it.
        self.seen: dict[int, Features] = {}
        #: By words; None until they are read.
        self.texts: dict[str, tuple[torch.Tensor, torch.Tensor]] | None = None
        #: By prompt and view.
        self.kept: dict[tuple[int, int], Outlining] = {}
        ordered = sorted(asked, key=lambda one: (one.view, bool(one.boxes), one.place))
        self._todo = {(one.place, one.view): one for one in ordered}

    @property
    def todo(self) -> Iterator[Asked]:
        """What is not answered yet, in the order that it should be asked."""
        return iter(self._todo.values())

    @property
    def words(self) -> list[str]:
        """Every text to read, once."""
        return list(dict.fromkeys(one.words for one in self.todo))

    def check(self) -> None:
        """
        Go on only if there is an answer that somebody waits for.

        Raises:
            PipelineError: the caller has gone, or what the order was closed with.

        """
        self.errand.check()
        if self.closed:
            self.answer.result()

    def finish(self, asked: Asked, kept: Outlining) -> None:
        """Have an answer outlined; let go of what only it needed; close after the last."""
        self.kept[asked.place, asked.view] = kept
        self.beside(kept)
        del self._todo[asked.place, asked.view]
        if all(one.view != asked.view for one in self.todo):
            self.seen.pop(asked.view, None)
        if all(one.place != asked.place for one in self.todo):
            self.errand.advance(1)
        if not self._todo:
            self.close()

    def found(self) -> tuple[tuple[Outlining, ...], ...]:
        """Give what was kept: for each prompt, one for each view that it was asked about."""
        prompts = sorted({place for place, _ in self.kept})
        return tuple(
            tuple(kept for (one, _), kept in sorted(self.kept.items()) if one == place)
            for place in prompts
        )


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a batch: a prompt of an order about one of its views."""

    order: Sam3Order
    asked: Asked

    @property
    def sight(self) -> Sight:
        """The view that it is about."""
        return self.order.sights[self.asked.view]

    @property
    def seen(self) -> Features | None:
        """The features of its view, if they are at hand."""
        return self.order.seen.get(self.asked.view)


def next_rows(orders: Sequence[Sam3Order], most: int) -> list[Row]:
    """
    Choose up to *most* rows for one batch: the oldest order's first, then the others'.

    All have boxes or none has: in a mixed batch the rows without boxes would still get the
    geometry encoder's own token, and answer slightly differently than alone.
    """
    with_boxes = bool(next(orders[0].todo).boxes)
    rows = (
        Row(order, asked)
        for order in orders
        for asked in order.todo
        if bool(asked.boxes) is with_boxes
    )
    return list(islice(rows, most))
