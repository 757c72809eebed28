"""
SAM3 as a `SegmentationModel`: a picture is seen once, all prompts share what was seen.

Vision features are computed once per view of a picture and remembered, text features once per
string. Prompts become rows of one batch, whichever requests they belong to. The model itself is
behind `Detector`, so that another one can serve in the same way.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

import torch
from PIL import Image

from pipeline.errors import ModelDied, NotReady
from pipeline.model import postprocess, preprocess
from pipeline.model.batching import BatchSize, share, translated
from pipeline.model.contour_queue import ContourQueue
from pipeline.model.detector import Detector, Raw
from pipeline.model.feature_memory import FeatureMemory, Features
from pipeline.model.postprocess import Kept, TracedView, traced
from pipeline.model.request_context import RequestContext
from pipeline.model.sam3_request import Row, Sam3Request, ViewInput, next_rows
from pipeline.model.views import View, views
from pipeline.model.vision import Vision
from pipeline.model.work_items import box_rows, work_items
from s3_sam3.contracts.manifest import ModelInfo, PromptResult
from s3_sam3.contracts.prompts import Prompt, SegmentOptions
from s3_sam3.imaging.choose import Found, choose


#: Rows in one pass of the detector. A CPU loses by larger ones (504 pixels a side, 16 prompts: by
#: 4 in 3.3 s, by 16 in 3.9 s), but not with models so small that the calls weigh most (64 a side:
#: 30 and 22 ms).
_ROWS: Final = {"cuda": 16, "cpu": 4}
_ROWS_OF_A_SMALL_ONE: Final = 16
_SMALL_SIDE: Final = 64

#: Requests whose texts are read in one pass, 16 texts each at most.
_READ_TOGETHER: Final = 16

#: Bytes of vision features remembered unless a setting says otherwise.
GPU_CACHE_BYTES: Final = 2**30
HOST_CACHE_BYTES: Final = 2**31

#: Bytes of masks that wait for their contours; a prompt's masks in one view take up to 66 MB.
MASK_BYTES: Final = 2**31

#: Bytes that contour tracing takes at once.
CHUNK_BYTES: Final = 2**28


def rows_at_once(detector: Detector) -> int:
    """How many prompts go through the heads together, with room enough."""
    if detector.side <= _SMALL_SIDE:
        return _ROWS_OF_A_SMALL_ONE
    return _ROWS.get(detector.device.type, _ROWS["cpu"])


class Sam3Segmenter:
    """Any `Detector`: facebook/sam3, a fine-tuned one, a lighter one, or the tiny demo model."""

    def __init__(
        self,
        *,
        detector: Detector,
        chunk_bytes: int = CHUNK_BYTES,
        gpu_cache_bytes: int = GPU_CACHE_BYTES,
        host_cache_bytes: int = HOST_CACHE_BYTES,
        mask_bytes: int = MASK_BYTES,
    ) -> None:
        """
        Use *detector*; remember so many bytes of what it saw on the GPU, and beside it.

        Masks of *mask_bytes* at most wait to be outlined, whatever is asked.
        """
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
        """How full the passes were, and what the memory of pictures did."""
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
            one
            for place, prompt in enumerate(prompts)
            for one in work_items(prompt, place=place, views=parts)
        ]
        for words in {one.words for one in items}:
            self._detector.check(words)
        view_inputs = {
            number: self._view_input(picture, parts[number], context)
            for number in sorted({one.view for one in items})
        }
        return Sam3Request(
            options, context, size=picture.size, view_inputs=view_inputs, items=items
        )

    def _view_input(self, picture: Image.Image, view: View, context: RequestContext) -> ViewInput:
        """Cut a view out and bring it into the model's form."""
        context.check()
        part = picture
        if (view.width, view.height) != picture.size:
            part = picture.crop((view.left, view.top, view.right, view.bottom))
        square = preprocess.to_square(part, self._detector.side)
        return ViewInput(view=view, square=square, digest=_digest(square, context.scope))

    def find(self, requests: Sequence[Sam3Request]) -> None:
        """Take one batch of rows through the model: their texts, their views, the heads."""
        if self._dead:
            for request in requests:
                request.close(NotReady("The GPU was lost. Start the pipeline again."))
            return
        frugal = requests[0].context.frugal
        # A frugal one runs alone and with nothing beside it; when it is the oldest.
        together = requests[:1] if frugal else [one for one in requests if not one.context.frugal]
        if frugal and not requests[0].kept:
            self._forget()
        rows = next_rows(together, 1 if frugal else self._masks.rows(self._rows.now))
        self._masks.clear(len(rows))
        for row in rows:
            row.request.begin()
        make_room = partial(self._make_room, together, rows)
        with translated():
            self._dead = (
                self._read(rows, make_room)
                or self._vision.look(rows, together, remember=not frugal, make_room=make_room)
                or self._answer(rows, make_room)
            )

    def _read(self, rows: Sequence[Row], make_room: Callable[[], None]) -> ModelDied | None:
        """Read the texts of the requests in the batch, the new ones in one pass."""
        new = {id(row.request): row for row in rows if row.request.texts is None}

        def read(some: list[Row]) -> None:
            """Run the text encoder over what it has not read before."""
            words = list(dict.fromkeys(word for row in some for word in row.request.words))
            features = dict(zip(words, self._detector.read(words), strict=True))
            for row in some:
                row.request.texts = {word: features[word] for word in row.request.words}

        return share(list(new.values()), read, size=self._texts, make_room=make_room)

    def _answer(self, rows: Sequence[Row], make_room: Callable[[], None]) -> ModelDied | None:
        """Run the detector's heads over the rows, and hand each request its own."""

        def answer(some: list[Row]) -> None:
            """Run them once."""
            raw = self._detect(some)
            self._masks.expect(raw.masks[0])
            kept = [_keep(row, raw, place) for place, row in enumerate(some)]
            for row, one in zip(some, kept, strict=True):
                # Off the GPU at once when frugal: 200 masks of one prompt take 66 MB there.
                held = postprocess.on_cpu(one) if row.request.context.frugal else one
                work = partial(self._trace, row.request)
                row.request.finish(row.item, self._masks.add(held, work))

        ready = [row for row in rows if row.request.texts is not None and row.seen is not None]
        return share(ready, answer, size=self._rows, make_room=make_room)

    def _detect(self, rows: Sequence[Row]) -> Raw:
        """Run the heads once for *rows*, which all have boxes or all have none."""
        texts = [(row.request.texts or {})[row.item.words] for row in rows]
        boxes, labels = box_rows([row.item for row in rows], self._detector.device)
        raw = self._detector.detect(
            _gather([row.seen or () for row in rows]),
            torch.stack([features for features, _ in texts]),
            torch.stack([mask for _, mask in texts]),
            boxes,
            labels,
        )
        self._heads["heads_passes_total"] += 1
        self._heads["heads_rows_total"] += len(rows)
        return raw

    def _trace(self, request: Sam3Request, kept: Kept) -> TracedView:
        """Upsample what a row found to the picture's size, as run lengths. Any thread."""
        request.check()
        # One mask at a time is the least there is.
        chunk_bytes = 1 if request.context.frugal else self._chunk_bytes
        return traced(kept, *request.size, request.options.mask_threshold, chunk_bytes)

    def trace(self, request: Sam3Request) -> tuple[PromptResult, ...]:
        """Outline what nobody has outlined yet, merge the views, and choose. Any thread."""
        found: list[Found] = []
        for looks in request.found():
            seen = [one.result() for one in looks]
            request.context.check()
            found.append(postprocess.merged(seen, request.options))
        request.context.check()
        return choose(found, request.options)

    def _make_room(self, requests: Sequence[Sam3Request], rows: Sequence[Row]) -> None:
        """Leave on the GPU what the batch needs, and nothing else that is ours."""
        busy = {id(row.request) for row in rows}
        for request in requests:
            if id(request) not in busy:
                request.seen.clear()
        self._masks.lighten()
        self._forget()

    def _forget(self) -> None:
        """Give back what can be computed again."""
        self._vision.forget()
        self._detector.forget()
        if self._detector.device.type == "cuda":
            torch.cuda.empty_cache()


def _gather(seen: Sequence[Features]) -> Features:
    """Put the features of one view per row together; without a copy when it is the same view."""
    if all(one is seen[0] for one in seen):
        return tuple(level.expand(len(seen), -1, -1, -1) for level in seen[0])
    return tuple(torch.cat(level) for level in zip(*seen, strict=True))


def _digest(square: torch.Tensor, scope: str) -> bytes:
    """Name a picture's pixels within its scope, so that nobody learns by the clock who saw it."""
    key = hashlib.blake2b(scope.encode(), digest_size=16).digest()
    return hashlib.blake2b(square.numpy().tobytes(), digest_size=16, key=key).digest()


def _keep(row: Row, raw: Raw, place: int) -> Kept:
    """Take one row out of the model's answer."""
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
