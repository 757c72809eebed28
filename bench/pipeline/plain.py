"""
Contender (a): SAM3 as transformers' documentation shows it, one prompt and one full pass at a time.

The post-processing is transformers' own function, called without its class: `Sam3Processor` needs
torchvision, which a CPU machine may not have, and this function uses nothing of it.
"""

import importlib
import json
import sys
import types
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any, Final
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from pycocotools import mask as coco

from bench.pipeline.models import Loaded
from s3_sam3.contracts.limits import DEFAULT_MASK_THRESHOLD
from s3_sam3.contracts.prompts import BoxLabel, Prompt


_BOXES_ONLY: Final = "visual"
"""What `Sam3Processor` has the model read when there are boxes alone."""

Stock = dict[str, torch.Tensor]
"""scores (n,), boxes (n, 4) xyxy in pixels, masks (n, height, width) int64."""


def stock_post_process() -> Callable[..., list[Stock]]:
    """Give `Sam3ImageProcessor.post_process_instance_segmentation`, torchvision or not."""
    name = "transformers.models.sam3.image_processing_sam3"
    importlib.import_module("transformers.image_processing_backends")  # asks for torchvision first
    absent = {
        part: types.ModuleType(part)
        for part in ("torchvision", "torchvision.ops", "torchvision.ops.boxes")
        if sys.modules.get("torchvision") is None
    }
    if absent:
        vars(absent["torchvision.ops.boxes"])["batched_nms"] = None
    with mock.patch.dict(sys.modules, absent):
        processor = importlib.import_module(name).Sam3ImageProcessor
    unbound: Callable[..., list[Stock]] = processor.post_process_instance_segmentation

    def post_process(outputs: Any, **options: Any) -> list[Stock]:
        return unbound(None, outputs, **options)

    return post_process


class Plain:
    """The example in the documentation, from the file's bytes to COCO run lengths."""

    def __init__(self, loaded: Loaded) -> None:
        self._model = loaded.model
        self._tokenizer = loaded.tokenizer
        self._side = int(loaded.model.config.image_size)
        self._post_process = stock_post_process()

    def answer(self, data: bytes, prompts: Sequence[Prompt]) -> str:
        """Do everything for one picture, prompt by prompt; thresholds are the prompts' own."""
        picture = opened(data)
        return json.dumps([_encoded(self.one(picture, prompt)) for prompt in prompts])

    def one(self, picture: Image.Image, prompt: Prompt) -> Stock:
        """One prompt: processor, a full pass, post-processing."""
        return self._cut(self.forward([(picture, prompt)]), [(picture, prompt)])[0]

    def cut_at(self, picture: Image.Image, prompt: Prompt, *cuts: float) -> list[Stock]:
        """Answer one prompt at several mask thresholds."""
        rows = [(picture, prompt)]
        raw = self.forward(rows)
        return [self._cut(raw, rows, mask_threshold=cut)[0] for cut in cuts]

    def rows(self, rows: Sequence[tuple[Image.Image, Prompt]]) -> list[str]:
        """Several pictures' prompts in one full pass, each as JSON: what a batching server does."""
        found = self._cut(self.forward(rows), rows)
        return [json.dumps(_encoded(one)) for one in found]

    @torch.inference_mode()
    def forward(self, rows: Sequence[tuple[Image.Image, Prompt]]) -> Any:
        """Run the whole model over pairs of picture and prompt; all with boxes or none."""
        texts = [prompt.text or _BOXES_ONLY for _, prompt in rows]
        text = self._tokenizer(texts, padding="max_length", max_length=32, return_tensors="pt")
        pixels = torch.cat([self._pixels(picture) for picture, _ in rows])
        inputs = {**text, **_boxes(rows), "pixel_values": pixels}
        return self._model(**{name: value.to(self._model.device) for name, value in inputs.items()})

    def scores(self, picture: Image.Image, prompt: Prompt) -> list[float]:
        """Every query's score, best first."""
        raw = self.forward([(picture, prompt)])
        scores = raw.pred_logits[0].sigmoid() * raw.presence_logits[0].sigmoid()
        best: list[float] = scores.sort(descending=True).values.tolist()
        return best

    def _pixels(self, picture: Image.Image) -> torch.Tensor:
        # As Sam3ImageProcessor; tests/pipeline/test_preprocess.py holds ours against it.
        square = picture.resize((self._side, self._side), Image.Resampling.BILINEAR)
        return torch.from_numpy(np.array(square, np.float32) / 127.5 - 1).permute(2, 0, 1)[None]

    @torch.inference_mode()
    def _cut(
        self,
        raw: Any,
        rows: Sequence[tuple[Image.Image, Prompt]],
        *,
        mask_threshold: float = DEFAULT_MASK_THRESHOLD,
    ) -> list[Stock]:
        found = []
        for place, (picture, prompt) in enumerate(rows):
            [one] = self._post_process(
                _row(raw, place),
                threshold=prompt.threshold or 0.0,
                mask_threshold=mask_threshold,
                target_sizes=[picture.size[::-1]],
            )
            found.append(one)
        return found


def opened(data: bytes) -> Image.Image:
    """Decode upright RGB."""
    return ImageOps.exif_transpose(Image.open(BytesIO(data))).convert("RGB")


def run_lengths(masks: torch.Tensor) -> list[dict[str, Any]]:
    """COCO run lengths of stock masks, (n, height, width) int64."""
    columns: NDArray[np.uint8] = np.asfortranarray(
        masks.cpu().numpy().astype(np.uint8).transpose(1, 2, 0)
    )
    encoded = coco.encode(columns)
    return [{"size": one["size"], "counts": one["counts"].decode()} for one in encoded]


def _encoded(found: Stock) -> list[dict[str, Any]]:
    scores, boxes = found["scores"].tolist(), found["boxes"].tolist()
    masks = run_lengths(found["masks"])
    return [
        {"score": score, "box": box, "rle": mask}
        for score, box, mask in zip(scores, boxes, masks, strict=True)
    ]


def _row(raw: Any, place: int) -> types.SimpleNamespace:
    names = ("pred_logits", "pred_boxes", "pred_masks", "presence_logits")
    return types.SimpleNamespace(**{name: getattr(raw, name)[place, None] for name in names})


def _boxes(rows: Sequence[tuple[Image.Image, Prompt]]) -> dict[str, torch.Tensor]:
    """Boxes as `Sam3Processor` hands them over: middle and extent in 0..1; equally many a row."""
    if not rows[0][1].boxes:
        return {}
    boxes, labels = [], []
    for picture, prompt in rows:
        corners = torch.tensor([box.xyxy for box in prompt.boxes])
        corners /= torch.tensor(picture.size * 2)
        low, high = corners[:, :2], corners[:, 2:]
        boxes.append(torch.cat([(low + high) / 2, high - low], dim=1))
        labels.append(torch.tensor([int(box.label is BoxLabel.POSITIVE) for box in prompt.boxes]))
    return {"input_boxes": torch.stack(boxes), "input_boxes_labels": torch.stack(labels)}
