"""
The protocol between the pipeline and a model, and SAM3 behind it.

A picture is seen once (`see`), a text is read once (`read`), and the detector's heads answer any
number of rows of one view and one prompt each (`detect`). All else (prompts, memories, batches,
masks) is the same for every backend; `pipeline/model/README.md` says how to add one.
"""

from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import torch
from cachetools import LRUCache
from typing_extensions import override

from pipeline.errors import Refused
from pipeline.model import preprocess
from s3_sam3.contracts.errors import ErrorCode
from s3_sam3.contracts.limits import MAX_TEXT_TOKENS
from s3_sam3.contracts.manifest import ModelInfo


if TYPE_CHECKING:
    from transformers import CLIPTokenizer, Sam3Model
    from transformers.models.sam3.modeling_sam3 import Sam3VisionEncoderOutput

#: Strings remembered; one takes 32 x 256 floats, 32 KiB.
_REMEMBERED: Final = 1024

#: Feature maps that the detector uses, finest first; the model makes a fourth that it never reads.
LEVELS: Final = 3


class Raw(NamedTuple):
    """What the heads answer for n rows with q queries each: float32, on the model's device."""

    logits: torch.Tensor
    """(n, q): whether a query is an instance, given that the concept occurs."""
    presence: torch.Tensor
    """(n, 1): whether the concept occurs at all."""
    boxes: torch.Tensor
    """(n, q, 4): xyxy in 0..1 of the square."""
    masks: torch.Tensor
    """(n, q, c, c): logits, c cells to a side."""


class Detector(Protocol):
    """
    One model on one device, without a memory of pictures.

    `check` may be called from any thread, all else from the model's own. torch's errors pass
    through; the caller translates them.
    """

    @property
    def info(self) -> ModelInfo:
        """Name, revision, precision and device."""
        ...

    @property
    def device(self) -> torch.device:
        """Where the model runs and its answers are."""
        ...

    @property
    def side(self) -> int:
        """Pixels to a side of the square that the model takes."""
        ...

    def see(self, squares: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """
        Compute vision features of n squares, (n, 3, side, side) uint8 on any device.

        The result is three maps, (n, width, cells, cells) each, finest first, in the model's own
        precision. A row depends on its square alone.
        """
        ...

    def read(self, texts: list[str]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Give each text's features (32, width) float32 and mask (32,); encode equal texts once."""
        ...

    def check(self, text: str) -> None:
        """
        Count the tokens of *text*.

        Raises:
            Refused: prompt_too_long.

        """
        ...

    def detect(
        self,
        features: tuple[torch.Tensor, ...],
        text: torch.Tensor,
        mask: torch.Tensor,
        boxes: torch.Tensor | None,
        labels: torch.Tensor | None,
    ) -> Raw:
        """
        Answer n rows at once; a row's answer does not depend on its neighbours.

        *features* are the three maps of `see` with one row per prompt (expanded or gathered),
        *text* (n, 32, width) and *mask* (n, 32) come from `read`. *boxes* (n, b, 4) are centre and
        size in 0..1 of the square, *labels* (n, b) 1, 0, or -10 for padding; both None together.
        """
        ...

    def forget(self) -> None:
        """Free what can be computed again."""
        ...


class Sam3Detector:
    """Any checkpoint of `Sam3Model`: facebook/sam3, a fine-tuned one, or the tiny demo model."""

    def __init__(self, *, model: "Sam3Model", tokenizer: "CLIPTokenizer", info: ModelInfo) -> None:
        """
        Take a model in evaluation mode and float32, already on its device.

        *tokenizer* must be the one that it was trained with.
        """
        self.info = info
        self.device: torch.device = model.device
        self.side = int(model.config.image_size)
        self._model = model
        self._tokenizer = tokenizer
        self._tokenizer_lock = Lock()  # fast tokenizers keep padding as state between calls
        self._texts: LRUCache[str, tuple[torch.Tensor, torch.Tensor]] = LRUCache(_REMEMBERED)
        self._bfloat16 = info.dtype == "bfloat16"
        cells = self.side // int(model.config.vision_config.backbone_config.patch_size)
        self._positions = _position_encoding(model, cells)
        _fix_grid(model, cells)

    def see(self, squares: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Run the vision encoder; in bfloat16 if the model's information says so."""
        pixels = preprocess.normalize(squares.to(self.device, non_blocking=True))
        # Scoped: a global autocast would reach the heads, whose boxes drift by pixels in bfloat16.
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._bfloat16):
            output = self._model.get_vision_features(pixel_values=pixels)
        return tuple(output.fpn_hidden_states[:LEVELS])

    def check(self, text: str) -> None:
        """
        Count the tokens, start and end included.

        Raises:
            Refused: prompt_too_long. The text encoder has 32 positions; the stock processor lets a
                longer text through, and the encoder would raise.

        """
        count = len(self._tokenize([text], pad=False)["input_ids"][0])
        if count > MAX_TEXT_TOKENS:
            raise Refused(
                f"A text prompt may have at most {MAX_TEXT_TOKENS} tokens; this one has {count}."
                " Use a short noun phrase.",
                code=ErrorCode.PROMPT_TOO_LONG,
            )

    def read(self, texts: list[str]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Give features (32, width) float32 and attention mask (32,) of each text."""
        known = {text: self._texts[text] for text in texts if text in self._texts}
        new = [text for text in dict.fromkeys(texts) if text not in known]
        if new:
            known |= self._encode(new)
        return [known[text] for text in texts]

    def _encode(self, texts: list[str]) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        """Run the text encoder once over new strings."""
        device = self._model.device
        tokens = self._tokenize(texts, pad=True)
        ids = torch.tensor(tokens["input_ids"], device=device)
        mask = torch.tensor(tokens["attention_mask"], device=device)
        features = self._model.get_text_features(input_ids=ids, attention_mask=mask).pooler_output
        rows = {
            text: (feature.float(), valid)
            for text, feature, valid in zip(texts, features, mask, strict=True)
        }
        self._texts.update(rows)
        return rows

    def _tokenize(self, texts: list[str], *, pad: bool) -> Any:
        """Give token ids and attention masks as lists."""
        with self._tokenizer_lock:
            if not pad:
                return self._tokenizer(texts, verbose=False)
            return self._tokenizer(texts, padding="max_length", max_length=MAX_TEXT_TOKENS)

    def detect(
        self,
        features: tuple[torch.Tensor, ...],
        text: torch.Tensor,
        mask: torch.Tensor,
        boxes: torch.Tensor | None,
        labels: torch.Tensor | None,
    ) -> Raw:
        """Run the heads in float32; without *mask* they would attend to padding."""
        from transformers.modeling_outputs import BaseModelOutputWithPooling

        output = self._model(
            vision_embeds=self._vision_output(features),
            text_embeds=BaseModelOutputWithPooling(pooler_output=text),
            attention_mask=mask,
            input_boxes=boxes,
            input_boxes_labels=labels,
        )
        return Raw(
            logits=output.pred_logits,
            presence=output.presence_logits,
            boxes=output.pred_boxes,
            masks=output.pred_masks,
        )

    def _vision_output(self, features: tuple[torch.Tensor, ...]) -> "Sam3VisionEncoderOutput":
        """Wrap feature maps in the class that the vision encoder returns."""
        maps = [_float(one) for one in features]
        rows = maps[-1].shape[0]
        positions = self._positions.expand(rows, -1, -1, -1)
        # The model drops the last level, and reads the position encoding of the one before.
        output: Sam3VisionEncoderOutput = self.vision_output_class()(
            fpn_hidden_states=(*maps, maps[-1]),
            fpn_position_encoding=(positions,) * (len(maps) + 1),
        )
        return output

    @staticmethod
    def vision_output_class() -> Any:
        """Give the class that the vision encoder returns; transformers has one for each model."""
        from transformers.models.sam3.modeling_sam3 import Sam3VisionEncoderOutput

        return Sam3VisionEncoderOutput

    def forget(self) -> None:
        self._texts.clear()


class LiteTextDetector(Sam3Detector):
    """
    Any checkpoint of `Sam3LiteTextModel`: SAM3 with a text encoder of 61 instead of 354 million.

    The text encoder is a MobileCLIP, whose convolutions run over the padding too. So its features
    depend on the padded length, which `read` therefore never changes.
    """

    @staticmethod
    @override
    def vision_output_class() -> Any:
        from transformers.models.sam3_lite_text.modeling_sam3_lite_text import (
            Sam3LiteTextVisionEncoderOutput,
        )

        return Sam3LiteTextVisionEncoderOutput


def _float(features: torch.Tensor) -> torch.Tensor:
    """Convert to float32, without a copy for each row when all rows are one picture's."""
    if features.stride(0) == 0:
        return features[:1].float().expand_as(features)
    return features.float()


def _position_encoding(model: "Sam3Model", cells: int) -> torch.Tensor:
    """
    Give the position encoding of the coarsest map, (1, width, cells, cells), once for all requests.

    In float32: counting in bfloat16 loses the odd numbers from 256 on.
    """
    shape = (1, int(model.config.vision_config.fpn_hidden_size), cells, cells)
    encoded: torch.Tensor = model.vision_encoder.neck.position_encoding(
        shape, model.device, torch.float32
    )
    return encoded


def _fix_grid(model: "Sam3Model", cells: int) -> None:
    """
    Give the decoder the size of its grid as a number.

    Otherwise it reads it from a tensor, which waits for the GPU in each layer and breaks a
    compiled graph. The result is the same to the last bit.
    """
    decoder = model.detr_decoder
    # The class's own method: this model may have been patched before.
    matrix = partial(type(decoder)._get_rpb_matrix, decoder)  # noqa: SLF001 - there is no public way
    decoder._get_rpb_matrix = lambda boxes, _: matrix(boxes, (cells, cells))  # noqa: SLF001
