"""What the model still has to do for a request, and the rows that it takes on next."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import torch

from pipeline.model.contour_queue import ContourTrace
from pipeline.model.feature_memory import Features
from pipeline.model.model_request import ModelRequest
from pipeline.model.request_context import RequestContext
from pipeline.model.views import View
from pipeline.model.work_items import WorkItem
from s3_sam3.contracts.prompts import SegmentOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewInput:
    """A view as the model looks at it."""

    view: View
    square: torch.Tensor
    """(3, side, side) uint8, on the CPU."""
    digest: bytes
    """Of scope and square: the same pixels have the same vision features."""


class Sam3Request(ModelRequest):
    """A request for SAM3; the model's thread alone writes to it."""

    def __init__(
        self,
        options: SegmentOptions,
        context: RequestContext,
        *,
        size: tuple[int, int],
        view_inputs: Mapping[int, ViewInput],
        items: Sequence[WorkItem],
    ) -> None:
        """Have all of *items* about a picture of *size* (width, height) to do, view by view."""
        super().__init__(options, context)
        self.size = size
        #: By the view's place; without the views that nobody asks about.
        self.view_inputs = view_inputs
        #: By view; held from the vision pass until no row needs it.
        self.seen: dict[int, Features] = {}
        #: By words; None until they are read.
        self.texts: dict[str, tuple[torch.Tensor, torch.Tensor]] | None = None
        #: By prompt and view.
        self.kept: dict[tuple[int, int], ContourTrace] = {}
        ordered = sorted(items, key=lambda one: (one.view, bool(one.boxes), one.place))
        self._todo = {(one.place, one.view): one for one in ordered}

    @property
    def todo(self) -> Iterator[WorkItem]:
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
            PipelineError: the caller has gone, or what the request was closed with.

        """
        self.context.check()
        if self.closed:
            self.answer.result()

    def finish(self, item: WorkItem, kept: ContourTrace) -> None:
        """Have an answer outlined; let go of what only it needed; close after the last."""
        self.kept[item.place, item.view] = kept
        self.beside(kept)
        del self._todo[item.place, item.view]
        if all(one.view != item.view for one in self.todo):
            self.seen.pop(item.view, None)
        if all(one.place != item.place for one in self.todo):
            self.context.advance(1)
        if not self._todo:
            self.close()

    def found(self) -> tuple[tuple[ContourTrace, ...], ...]:
        """Give what was kept: for each prompt, one for each view that it was asked about."""
        prompts = sorted({place for place, _ in self.kept})
        return tuple(
            tuple(kept for (one, _), kept in sorted(self.kept.items()) if one == place)
            for place in prompts
        )


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a batch: a prompt of a request about one of its views."""

    request: Sam3Request
    item: WorkItem

    @property
    def view_input(self) -> ViewInput:
        """The view that it is about."""
        return self.request.view_inputs[self.item.view]

    @property
    def seen(self) -> Features | None:
        """The features of its view, if they are at hand."""
        return self.request.seen.get(self.item.view)


def next_rows(requests: Sequence[Sam3Request], most: int) -> list[Row]:
    """
    Choose up to *most* rows for one batch: the oldest request's first, then the others'.

    All have boxes or none has: in a mixed batch the rows without boxes would still get the
    geometry encoder's own token, and answer slightly differently than alone.
    """
    with_boxes = bool(next(requests[0].todo).boxes)
    rows = (
        Row(request, item)
        for request in requests
        for item in request.todo
        if bool(item.boxes) is with_boxes
    )
    return list(islice(rows, most))
