"""What the model still has to do for a request, and which work items one batch takes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import torch

from pipeline.model.contour_queue import ContourTrace
from pipeline.model.feature_memory import Features
from pipeline.model.preprocess import ViewInput
from pipeline.model.segmentation_model import ModelRequest, RequestContext
from pipeline.model.work_items import WorkItem
from s3_sam3.contracts.prompts import SegmentOptions


class Sam3Request(ModelRequest):
    """A request to SAM3; only the model's thread writes to it."""

    def __init__(
        self,
        options: SegmentOptions,
        context: RequestContext,
        *,
        size: tuple[int, int],
        view_inputs: Mapping[int, ViewInput],
        items: Sequence[WorkItem],
    ) -> None:
        """Have *items* to do about a picture of *size* (width, height)."""
        super().__init__(options, context)
        self.size = size
        #: By the view's index; only views that an item is about.
        self.view_inputs = view_inputs
        #: By the view's index; from the vision pass until no item needs it any more.
        self.features: dict[int, Features] = {}
        #: By words; None until they are read.
        self.texts: dict[str, tuple[torch.Tensor, torch.Tensor]] | None = None
        #: By prompt and view.
        self.traces: dict[tuple[int, int], ContourTrace] = {}
        # View by view, so that features can be dropped early; without boxes first, since a batch
        # has either no boxes or boxes in every row.
        ordered = sorted(items, key=lambda one: (one.view, bool(one.boxes), one.place))
        self._todo = {(one.place, one.view): one for one in ordered}

    @property
    def todo(self) -> Iterator[WorkItem]:
        """Items that are not answered yet, in the order to run them."""
        return iter(self._todo.values())

    @property
    def words(self) -> list[str]:
        """Every text to read, once."""
        return list(dict.fromkeys(one.words for one in self.todo))

    def check(self) -> None:
        """
        Raise if nobody waits for the answer, or there will be none.

        Raises:
            PipelineError: the caller has gone, or what the request was closed with.

        """
        self.context.check()
        if self.closed:
            self.answer.result()

    def finish(self, item: WorkItem, trace: ContourTrace) -> None:
        """Start tracing an item's masks, drop what only it needed, close after the last."""
        self.traces[item.place, item.view] = trace
        self.beside(trace)
        del self._todo[item.place, item.view]
        if all(one.view != item.view for one in self.todo):
            self.features.pop(item.view, None)
        if all(one.place != item.place for one in self.todo):
            self.context.advance(1)
        if not self._todo:
            self.close()

    def traces_by_prompt(self) -> tuple[tuple[ContourTrace, ...], ...]:
        """Give the traces of each prompt, one for each view it was asked of."""
        prompts = sorted({place for place, _ in self.traces})
        return tuple(
            tuple(trace for (one, _), trace in sorted(self.traces.items()) if one == place)
            for place in prompts
        )


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a batch: a work item and the request it belongs to."""

    request: Sam3Request
    item: WorkItem

    @property
    def view_input(self) -> ViewInput:
        return self.request.view_inputs[self.item.view]

    @property
    def features(self) -> Features | None:
        """The features of its view, if they are computed."""
        return self.request.features.get(self.item.view)


def next_rows(requests: Sequence[Sam3Request], most: int) -> list[Row]:
    """
    Choose up to *most* rows for one batch: the oldest request's first, then the others'.

    Either all have boxes or none has: in a mixed batch the rows without boxes would still get the
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
