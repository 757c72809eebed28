"""Text prompts as SAM3 reads them: counted in tokens, and each string encoded once."""

from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import torch
from cachetools import LRUCache

from pipeline.errors import Refused
from s3_sam3.contracts.errors import ErrorCode
from s3_sam3.contracts.limits import MAX_TEXT_TOKENS


if TYPE_CHECKING:
    from transformers import CLIPTokenizer, Sam3Model

#: Strings remembered; one takes 32 x 256 floats, 32 KiB.
_REMEMBERED: Final = 1024


class TextFeatures:
    """Text features by string. `check` may be called from any thread, all else from the model's."""

    def __init__(self, model: "Sam3Model", tokenizer: "CLIPTokenizer") -> None:
        """Use *model*'s text encoder; *tokenizer* must be the one it was trained with."""
        self._model = model
        self._tokenizer = tokenizer
        self._tokenizer_lock = Lock()  # fast tokenizers keep padding as state between calls
        self._known: LRUCache[str, tuple[torch.Tensor, torch.Tensor]] = LRUCache(_REMEMBERED)

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
        known = {text: self._known[text] for text in texts if text in self._known}
        new = [text for text in dict.fromkeys(texts) if text not in known]
        if new:
            known |= self._encode(new)
        return [known[text] for text in texts]

    def forget(self) -> None:
        """Give the memory back."""
        self._known.clear()

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
        self._known.update(rows)
        return rows

    def _tokenize(self, texts: list[str], *, pad: bool) -> Any:
        """Give token ids and attention masks as lists."""
        with self._tokenizer_lock:
            if not pad:
                return self._tokenizer(texts, verbose=False)
            return self._tokenizer(texts, padding="max_length", max_length=MAX_TEXT_TOKENS)
