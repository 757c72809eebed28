"""
SAM3 behind the `Segmenter` protocol: the picture is seen once, all prompts share what was seen.

Vision features are computed once per picture (and remembered for a few pictures, so that tasks on
the same source share one pass), text features once per string. Prompts become rows of one batch.
Nothing in `Sam3Model` broadcasts, so features are expanded to the rows here; the attention mask is
always passed, since without it padding is attended to; the detector's heads run in float32,
because boxes drift by several pixels in bfloat16.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch
from PIL import Image

from contracts.manifest import ModelInfo, PromptResult
from contracts.prompts import Prompt, SegmentOptions
from pipeline import postprocess, preprocess
from pipeline.asked import Asked, ask, batches, box_rows
from pipeline.errand import Errand
from pipeline.errors import ModelDied, ModelFailed, OutOfMemory
from pipeline.postprocess import Kept
from pipeline.recent import Recent
from pipeline.text_features import TextFeatures


if TYPE_CHECKING:
    from transformers import CLIPTokenizer, Sam3Model
    from transformers.models.sam3.modeling_sam3 import (
        Sam3ImageSegmentationOutput,
        Sam3VisionEncoderOutput,
    )

#: Pictures whose vision features are remembered: 56 MB each in bfloat16, 111 MB in float32.
REMEMBERED_PICTURES: Final = 4

#: Prompts in one pass of the detector. A CPU gains nothing from larger ones.
PROMPT_BATCH: Final = {"cuda": 16, "cpu": 4}

#: Feature maps that the detector uses, finest first; the fourth one is never read.
_LEVELS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A picture and its prompts, ready for the model's thread."""

    square: torch.Tensor
    """(3, side, side) uint8, on the CPU."""
    digest: bytes
    """Of scope and square: the same pixels have the same vision features."""
    width: int
    height: int
    asked: tuple[Asked, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the model found, still at its own resolution."""

    kept: tuple[Kept, ...]
    width: int
    height: int


class Sam3Segmenter:
    """Any checkpoint of `Sam3Model`: facebook/sam3, a fine-tuned one, or the tiny demo model."""

    def __init__(
        self,
        *,
        model: "Sam3Model",
        tokenizer: "CLIPTokenizer",
        info: ModelInfo,
        chunk_bytes: int,
        remembered_pictures: int = REMEMBERED_PICTURES,
    ) -> None:
        """Use a model in evaluation mode and float32, already on its device."""
        self.info = info
        self._model = model
        self._device = model.device
        self._texts = TextFeatures(model, tokenizer)
        self._side = int(model.config.image_size)
        self._bfloat16 = info.dtype == "bfloat16"
        self._chunk_bytes = chunk_bytes
        self._prompt_batch = PROMPT_BATCH.get(self._device.type, PROMPT_BATCH["cpu"])
        self._seen: Recent[bytes, tuple[torch.Tensor, ...]] = Recent(remembered_pictures)

    def prepare(
        self, picture: Image.Image, prompts: tuple[Prompt, ...], errand: Errand
    ) -> Prepared:
        """Check the prompts and stretch the picture to the model's square. Any thread."""
        width, height = picture.size
        asked = tuple(
            ask(prompt, place=place, width=width, height=height)
            for place, prompt in enumerate(prompts)
        )
        for one in asked:
            self._texts.check(one.words)
        square = preprocess.to_square(picture, self._side)
        return Prepared(
            square=square,
            digest=_digest(square, errand.scope),
            width=width,
            height=height,
            asked=asked,
        )

    def find(self, prepared: Prepared, options: SegmentOptions, errand: Errand) -> Found:
        """Run the model; when memory runs out, again with ever fewer prompts at once."""
        batch = self._prompt_batch
        if errand.frugal:
            batch = 1
            self._texts.forget()
            self._free()
        while True:
            kept = self._try_find(prepared, options, errand, batch)
            if kept is not None:
                return Found(kept=kept, width=prepared.width, height=prepared.height)
            # Outside the `except`, whose traceback would keep the tensors alive.
            self._free()
            if batch == 1:
                raise OutOfMemory
            batch //= 2

    def _try_find(
        self, prepared: Prepared, options: SegmentOptions, errand: Errand, batch: int
    ) -> tuple[Kept, ...] | None:
        """One attempt; None when memory ran out."""
        errand.computed = 0
        kept: dict[int, Kept] = {}
        try:
            with _translated(), torch.inference_mode():
                features = self._look(prepared, remember=not errand.frugal)
                for rows in batches(prepared.asked, batch):
                    errand.check()
                    answers = self._ask_model(features, rows, options)
                    # Off the GPU at once: 200 masks of one prompt take 66 MB there.
                    kept |= _off_gpu(answers) if errand.frugal else answers
                    errand.advance(len(rows))
                return tuple(kept[asked.place] for asked in prepared.asked)
        except OutOfMemory:
            return None

    def _look(self, prepared: Prepared, *, remember: bool = True) -> tuple[torch.Tensor, ...]:
        """Vision features of one picture, (1, width, cells, cells) each, finest first."""
        features = self._seen.get(prepared.digest)
        if features is None:
            pixels = preprocess.normalize(prepared.square.to(self._device))[None]
            # Scoped: a global autocast would reach the heads.
            with torch.autocast(self._device.type, torch.bfloat16, enabled=self._bfloat16):
                output = self._model.get_vision_features(pixel_values=pixels)
            features = tuple(output.fpn_hidden_states[:_LEVELS])
            if remember:
                self._seen.put(prepared.digest, features)
        return features

    def _ask_model(
        self, features: tuple[torch.Tensor, ...], rows: list[Asked], options: SegmentOptions
    ) -> dict[int, Kept]:
        """Run the detector once for *rows*, which all have boxes or all have none."""
        from transformers.modeling_outputs import BaseModelOutputWithPooling

        text, mask = self._texts([row.words for row in rows])
        boxes, labels = box_rows(rows, self._device)
        output = self._model(
            vision_embeds=self._expand(features, len(rows)),
            text_embeds=BaseModelOutputWithPooling(pooler_output=text),
            attention_mask=mask,
            input_boxes=boxes,
            input_boxes_labels=labels,
        )
        return {row.place: _keep(row, output, place, options) for place, row in enumerate(rows)}

    def _expand(self, features: tuple[torch.Tensor, ...], rows: int) -> "Sam3VisionEncoderOutput":
        """One picture's features as *rows* equal rows, without a copy."""
        from transformers.models.sam3.modeling_sam3 import Sam3VisionEncoderOutput

        encode = self._model.vision_encoder.neck.position_encoding
        maps = [feature.float() for feature in features]
        # Encoded here in float32: counting to 288 in bfloat16 loses the odd numbers.
        places = [encode(one.shape, one.device, one.dtype) for one in maps]
        # The model drops the last level of what it is given.
        return Sam3VisionEncoderOutput(
            fpn_hidden_states=tuple(one.expand(rows, -1, -1, -1) for one in [*maps, maps[-1]]),
            fpn_position_encoding=tuple(
                one.expand(rows, -1, -1, -1) for one in [*places, places[-1]]
            ),
        )

    def trace(
        self, found: Found, options: SegmentOptions, errand: Errand
    ) -> tuple[PromptResult, ...]:
        """Upsample what was found to the picture's size, as run lengths. Any thread."""
        with _translated(), torch.inference_mode():
            return postprocess.trace(
                found.kept,
                width=found.width,
                height=found.height,
                options=options,
                # One mask at a time is the least there is.
                chunk_bytes=1 if errand.frugal else self._chunk_bytes,
                check=errand.check,
            )

    def _free(self) -> None:
        """Give back what can be computed again."""
        self._seen.clear()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


def _off_gpu(answers: dict[int, Kept]) -> dict[int, Kept]:
    """Make room for the next prompt's masks."""
    return {place: postprocess.on_cpu(kept) for place, kept in answers.items()}


def _digest(square: torch.Tensor, scope: str) -> bytes:
    """Name a picture's pixels within its scope, so that nobody learns by the clock who saw it."""
    key = hashlib.blake2b(scope.encode(), digest_size=16).digest()
    return hashlib.blake2b(square.numpy().tobytes(), digest_size=16, key=key).digest()


def _keep(
    row: Asked, output: "Sam3ImageSegmentationOutput", place: int, options: SegmentOptions
) -> Kept:
    """Take one row out of the model's output."""
    return postprocess.keep(
        id_=row.id,
        text=row.text,
        logits=output.pred_logits[place],
        presence_logit=output.presence_logits[place],
        boxes=output.pred_boxes[place],
        masks=output.pred_masks[place],
        threshold=options.threshold if row.threshold is None else row.threshold,
        most=options.max_instances,
    )


@contextmanager
def _translated() -> Iterator[None]:
    """Say torch's errors in our words; the one seam where they are known."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise OutOfMemory from error
    except torch.AcceleratorError as error:
        raise ModelDied from error
    except RuntimeError as error:
        # Libraries under torch (cuBLAS, cuDNN) report a lost device as plain runtime errors.
        if "CUDA error" in str(error):
            raise ModelDied from error
        raise ModelFailed from error
