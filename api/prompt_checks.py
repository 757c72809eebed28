"""
Prompts that must not be queued: empty ones, and texts that the model would have to cut.

SAM3's text encoder holds 32 CLIP tokens, two of them its own. With a CLIP tokenizer.json
(API_TOKENIZER_PATH) tokens are counted exactly. Without one they are bounded from below: CLIP
first cuts a text into runs of letters, single digits and runs of other signs, and each piece is at
least one token. The pipeline refuses a text that passes this bound and is still too long, with the
same code, and the credits go back.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from api.problems import Problem
from s3_sam3.contracts import limits
from s3_sam3.contracts.errors import ErrorCode
from s3_sam3.contracts.prompts import Prompt


_PIECES: Final = re.compile(r"'(?:s|t|re|ve|m|ll|d)\b|[^\W\d_]+|\d|(?:[^\s\w]|_)+")
_OWN_TOKENS: Final = 2
"""Start and end."""

TokenCount = Callable[[str], int]
"""Text -> CLIP tokens, start and end included."""


def counter(tokenizer_path: Path | None) -> TokenCount:
    """The exact count when there is a tokenizer.json, else the bound from below."""
    if tokenizer_path is None:
        return at_least
    from tokenizers import Tokenizer  # an optional package; asked for by the setting

    tokenizer = Tokenizer.from_file(str(tokenizer_path))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return lambda text: len(tokenizer.encode(text).ids)


def at_least(text: str) -> int:
    """Count the tokens that *text* has at least."""
    return len(_PIECES.findall(text.lower())) + _OWN_TOKENS


def check(prompts: Sequence[Prompt], count: TokenCount) -> None:
    """
    Refuse prompts that cannot be answered; details give the index of the first.

    Raises: Problem with PROMPT_EMPTY, PROMPT_TOO_LONG or INVALID_REQUEST (ids not unique).
    """
    for index, prompt in enumerate(prompts):
        text = (prompt.text or "").strip()
        if not text and not prompt.boxes:
            raise Problem(ErrorCode.PROMPT_EMPTY, {"prompt": index})
        # Characters first: they bound what the tokenizer is given to read.
        if len(text) > limits.MAX_TEXT_CHARACTERS or count(text) > limits.MAX_TEXT_TOKENS:
            details = {"prompt": index, "max_tokens": limits.MAX_TEXT_TOKENS}
            raise Problem(ErrorCode.PROMPT_TOO_LONG, details)
    names = [prompt.id for prompt in prompts]
    if len(set(names)) < len(names):
        raise Problem(ErrorCode.INVALID_REQUEST, {"reason": "the ids of prompts must differ"})
