"""
SAM3 as a `SegmentationModel`: a picture is seen once, and all prompts share its features.

Vision features are computed once per view of a picture and remembered, text features once per
string. Prompts become rows of one batch, across requests. The network itself is behind `Detector`,
so that another one can serve in the same way.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

import torch
from PIL import Image

from pipeline.errors import ModelDied, NotReady
from pipeline.model import postprocess
from pipeline.model.batching import BatchSize, run_batches
from pipeline.model.contour_queue import ContourQueue
from pipeline.model.detector import Detector, Raw
from pipeline.model.device import translated
from pipeline.model.feature_memory import FeatureMemory, Features
from pipeline.model.postprocess import Kept, TracedView
from pipeline.model.preprocess import view_input
from pipeline.model.sam3_request import Row, Sam3Request, next_rows
from pipeline.model.segmentation_model import RequestContext
from pipeline.model.vision import Vision
from pipeline.model.work_items import WorkItem, views, work_items
from s3_sam3.contracts.manifest import ModelInfo, PromptResult
from s3_sam3.contracts.prompts import Prompt, SegmentOptions
from s3_sam3.imaging.choose import Found, choose


#: Rows in one pass of the heads. A CPU is slower with more (504 pixels a side, 16 prompts: 3.3 s by
#: 4, 3.9 s by 16), except with a model so small that the calls weigh most (64 a side: 30 ms by 4,
#: 22 ms by 16).
_ROWS: Final = {"cuda": 16, "cpu": 4}
_ROWS_OF_A_SMALL_ONE: Final = 16
_SMALL_SIDE: Final = 64

#: Requests whose texts are read in one pass; each has 16 at most.
_READ_TOGETHER: Final = 16

#: Bytes of vision features remembered, unless a setting says otherwise.
GPU_CACHE_BYTES: Final = 2**30
HOST_CACHE_BYTES: Final = 2**31

#: Bytes of masks that wait for contour tracing; a prompt's masks in one view take up to 66 MB.
MASK_BYTES: Final = 2**31

#: Bytes that one contour tracing takes at once.
CHUNK_BYTES: Final = 2**28

#: transformers' label of a box that is only padding.
_PADDING: Final = -10


def rows_at_once(detector: Detector) -> int:
    """How many prompts go through the heads together, while memory allows."""
    if detector.side <= _SMALL_SIDE:
        return _ROWS_OF_A_SMALL_ONE
    return _ROWS.get(detector.device.type, _ROWS["cpu"])


class Sam3Segmenter:
    """Serves any `Detector`: facebook/sam3, a fine-tuned one, a lighter one, or the demo model."""

    def __init__(
        self,
        *,
        detector: Detector,
        chunk_bytes: int = CHUNK_BYTES,
        gpu_cache_bytes: int = GPU_CACHE_BYTES,
        host_cache_bytes: int = HOST_CACHE_BYTES,
        mask_bytes: int = MASK_BYTES,
    ) -> None:
        self.info: ModelInfo = detector.info
        self._detector = detector
        self._chunk_bytes = chunk_bytes
        memory = FeatureMemory(
            detector.device,
            gpu_bytes=0 if detector.device.type == "cpu" else gpu_cache_bytes,
            host_bytes=host_cache_bytes,
        )
        self._vision = Vision(detector, memory)
        self._masks = ContourQueue(mask_bytes)
        self._texts = BatchSize(_READ_TOGETHER)
        self._rows = BatchSize(rows_at_once(detector))
        self._heads = {"heads_passes_total": 0, "heads_rows_total": 0}
        self._dead: ModelDied | None = None

    @property
    def figures(self) -> Mapping[str, float]:
        """Passes, rows in them, bytes of masks that wait, and the memory of features."""
        return {**self._heads, "mask_bytes": self._masks.bytes, **self._vision.figures}

    def prepare(
        self,
        picture: Image.Image,
        prompts: tuple[Prompt, ...],
        options: SegmentOptions,
        context: RequestContext,
    ) -> Sam3Request:
        """Check the prompts and stretch each view to the model's square. Any thread."""
        parts = views(picture.width, picture.height, options)
        items = [
            item
            for place, prompt in enumerate(prompts)
            for item in work_items(prompt, place=place, views=parts)
        ]
        for words in {item.words for item in items}:
            self._detector.check(words)
        view_inputs = {}
        for number in sorted({item.view for item in items}):
            context.check()
            view_inputs[number] = view_input(
                picture, parts[number], side=self._detector.side, scope=context.scope
            )
        return Sam3Request(
            options, context, size=picture.size, view_inputs=view_inputs, items=items
        )

    def find(self, requests: Sequence[Sam3Request]) -> None:
        """Run one batch of rows: read their texts, see their views, run the heads."""
        if self._dead:
            for request in requests:
                request.close(NotReady("The GPU was lost. Start the pipeline again."))
            return
        frugal = requests[0].context.frugal
        # A frugal request waits until it is the oldest, and then runs alone.
        together = requests[:1] if frugal else [one for one in requests if not one.context.frugal]
        if frugal and not requests[0].traces:
            self._forget()
        rows = next_rows(together, 1 if frugal else self._masks.rows(self._rows.now))
        self._masks.clear(len(rows))
        for row in rows:
            row.request.begin()
        make_room = partial(self._make_room, together, rows)
        with translated():
            self._dead = (
                self._read_texts(rows, make_room)
                or self._vision.see(rows, together, remember=not frugal, make_room=make_room)
                or self._run_heads(rows, make_room)
            )

    def _read_texts(self, rows: Sequence[Row], make_room: Callable[[], None]) -> ModelDied | None:
        """Read all texts of the requests in the batch, the new ones in one pass."""
        new = {id(row.request): row for row in rows if row.request.texts is None}

        def read(batch: list[Row]) -> None:
            words = list(dict.fromkeys(word for row in batch for word in row.request.words))
            features = dict(zip(words, self._detector.read(words), strict=True))
            for row in batch:
                row.request.texts = {word: features[word] for word in row.request.words}

        return run_batches(list(new.values()), read, size=self._texts, make_room=make_room)

    def _run_heads(self, rows: Sequence[Row], make_room: Callable[[], None]) -> ModelDied | None:
        """Run the heads over the rows, and queue their masks for contour tracing."""

        def answer(batch: list[Row]) -> None:
            raw = self._detect(batch)
            self._masks.expect(raw.masks[0])
            kept = [_keep(row, raw, place) for place, row in enumerate(batch)]
            for row, one in zip(batch, kept, strict=True):
                # A frugal request's masks leave the GPU at once: one prompt's 200 take 66 MB there.
                held = postprocess.on_cpu(one) if row.request.context.frugal else one
                work = partial(self._trace, row.request)
                row.request.finish(row.item, self._masks.add(held, work))

        ready = [row for row in rows if row.request.texts is not None and row.features is not None]
        return run_batches(ready, answer, size=self._rows, make_room=make_room)

    def _detect(self, rows: Sequence[Row]) -> Raw:
        """Run the heads once for *rows*, which all have boxes or all have none."""
        texts = [(row.request.texts or {})[row.item.words] for row in rows]
        boxes, labels = box_rows([row.item for row in rows], self._detector.device)
        raw = self._detector.detect(
            _gather([row.features or () for row in rows]),
            torch.stack([features for features, _ in texts]),
            torch.stack([mask for _, mask in texts]),
            boxes,
            labels,
        )
        self._heads["heads_passes_total"] += 1
        self._heads["heads_rows_total"] += len(rows)
        return raw

    def _trace(self, request: Sam3Request, kept: Kept) -> TracedView:
        """Trace a row's masks at the picture's size. Any thread."""
        request.check()
        # One mask at a time is the least there is.
        chunk_bytes = 1 if request.context.frugal else self._chunk_bytes
        return postprocess.traced(kept, *request.size, request.options.mask_threshold, chunk_bytes)

    def trace(self, request: Sam3Request) -> tuple[PromptResult, ...]:
        """Trace the masks that no thread has traced yet, merge the views, choose. Any thread."""
        found: list[Found] = []
        for traces in request.traces_by_prompt():
            traced = [trace.result() for trace in traces]
            request.context.check()
            found.append(postprocess.merged(traced, request.options))
        request.context.check()
        return choose(found, request.options)

    def _make_room(self, requests: Sequence[Sam3Request], rows: Sequence[Row]) -> None:
        """Free the GPU of all that the batch does not need."""
        busy = {id(row.request) for row in rows}
        for request in requests:
            if id(request) not in busy:
                request.features.clear()
        self._masks.move_off_gpu()
        self._forget()

    def _forget(self) -> None:
        """Free what can be computed again."""
        self._vision.forget()
        self._detector.forget()
        if self._detector.device.type == "cuda":
            torch.cuda.empty_cache()


def box_rows(
    items: Sequence[WorkItem], device: torch.device
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Pad boxes to the same number: (n, most, 4) float32 and labels (n, most); None without any."""
    most = max(len(item.boxes) for item in items)
    if most == 0:
        return None, None
    boxes = torch.zeros(len(items), most, 4)
    labels = torch.full((len(items), most), _PADDING)
    for place, item in enumerate(items):
        boxes[place, : len(item.boxes)] = torch.tensor(item.boxes)
        labels[place, : len(item.boxes)] = torch.tensor(item.labels)
    return boxes.to(device), labels.to(device)


def _gather(features: Sequence[Features]) -> Features:
    """Stack the features of one view per row; without a copy when all rows share one view."""
    if all(one is features[0] for one in features):
        return tuple(level.expand(len(features), -1, -1, -1) for level in features[0])
    return tuple(torch.cat(level) for level in zip(*features, strict=True))


def _keep(row: Row, raw: Raw, place: int) -> Kept:
    """Choose the queries of one row of *raw* that are worth keeping."""
    options, own = row.request.options, row.item.threshold
    return postprocess.keep(
        id_=row.item.id,
        text=row.item.text,
        logits=raw.logits[place],
        presence_logit=raw.presence[place],
        boxes=raw.boxes[place],
        masks=raw.masks[place],
        threshold=own,
        lowest=min(options.threshold if own is None else own, options.floor),
        view=row.view_input.view,
    )
