"""Text prompts as SAM3 reads them: counted in tokens, encoded once, remembered by their string."""

from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import torch

from pipeline.errors import Refused
from pipeline.model.recent import Recent
from s3_sam3.contracts.errors import ErrorCode
from s3_sam3.contracts.limits import MAX_TEXT_TOKENS


if TYPE_CHECKING:
    from transformers import CLIPTokenizer, Sam3Model

#: Strings remembered; one costs 32 x 256 floats, 32 KiB.
_REMEMBERED: Final = 1024


class TextFeatures:
    """Turns strings into text features, each string once."""

    def __init__(self, model: "Sam3Model", tokenizer: "CLIPTokenizer") -> None:
        """Use *model*'s text encoder; *tokenizer* must be the one it was trained with."""
        self._model = model
        self._tokenizer = tokenizer
        self._tokenizer_lock = Lock()  # fast tokenizers keep padding as state between calls
        self._known: Recent[str, tuple[torch.Tensor, torch.Tensor]] = Recent(_REMEMBERED)

    def check(self, text: str) -> None:
        """
        Count the tokens, start and end included.

        Raises:
            Refused: prompt_too_long. The text encoder has 32 places; the stock processor would
                let a longer text through and the encoder would raise.

        """
        count = len(self._tokenize([text], pad=False)["input_ids"][0])
        if count > MAX_TEXT_TOKENS:
            raise Refused(
                f"A text prompt may have at most {MAX_TEXT_TOKENS} tokens; this one has {count}."
                " Use a short noun phrase.",
                code=ErrorCode.PROMPT_TOO_LONG,
            )

    def __call__(self, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Give features (n, 32, width) and attention masks (n, 32), in the order of *texts*."""
        rows = {text: self._known.get(text) for text in texts}
        new = [text for text, row in rows.items() if row is None]
        if new:
            rows |= self._encode(new)
        found = [row for row in (rows[text] for text in texts) if row is not None]
        return torch.stack([row[0] for row in found]), torch.stack([row[1] for row in found])

    def forget(self) -> None:
        """Give the memory back; what is asked again is encoded again."""
        self._known.clear()

    def _encode(self, texts: list[str]) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        """Run the text encoder once over strings not seen before."""
        device = self._model.device
        tokens = self._tokenize(texts, pad=True)
        ids = torch.tensor(tokens["input_ids"], device=device)
        mask = torch.tensor(tokens["attention_mask"], device=device)
        features = self._model.get_text_features(input_ids=ids, attention_mask=mask).pooler_output
        rows = {
            text: (feature.float(), valid)
            for text, feature, valid in zip(texts, features, mask, strict=True)
        }
        for text, row in rows.items():
            self._known.put(text, row)
        return rows

    def _tokenize(self, texts: list[str], *, pad: bool) -> Any:
        """Token ids and attention masks as lists."""
        with self._tokenizer_lock:
            if not pad:
                return self._tokenizer(texts, verbose=False)
            return self._tokenizer(texts, padding="max_length", max_length=MAX_TEXT_TOKENS)
