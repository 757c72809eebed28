"""Prompts that must not be queued."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import prompt_checks
from api.problems import Problem
from s3_sam3.contracts import limits
from s3_sam3.contracts.errors import ErrorCode
from s3_sam3.contracts.prompts import Box, Prompt


COUNTS = [
    ("", 2),
    ("cat", 3),
    ("yellow school bus", 5),
    ("it's", 4),
    ("2026", 6),
    ("a, b!", 6),
    ("Straße", 3),
    ("  many   spaces ", 4),
]


@pytest.mark.parametrize(("text", "count"), COUNTS)
def test_pieces_are_cut_as_clip_cuts_them(text: str, count: int) -> None:
    """Runs of letters, single digits, runs of signs: one token at the least, plus two."""
    assert prompt_checks.at_least(text) == count


@given(st.text(max_size=60))
def test_the_bound_never_exceeds_the_characters(text: str) -> None:
    """A piece has at least one character, so no text is refused for more than it has."""
    assert prompt_checks.at_least(text) <= len(text.lower()) + 2


@pytest.mark.parametrize(("words", "fits"), [(30, True), (31, False)])
def test_the_limit_is_exact_for_plain_words(words: int, *, fits: bool) -> None:
    """Thirty one-token words and the two ends are 32 tokens; one more is too many."""
    prompt = Prompt(text=" ".join(["cat"] * words), id="p0")

    if fits:
        prompt_checks.check([prompt], prompt_checks.at_least)
    else:
        with pytest.raises(Problem) as refusal:
            prompt_checks.check([prompt], prompt_checks.at_least)
        assert refusal.value.code is ErrorCode.PROMPT_TOO_LONG


def test_a_box_needs_no_text() -> None:
    """Boxes alone are a prompt."""
    prompt_checks.check([Prompt(boxes=(Box(xyxy=(0, 0, 1, 1)),))], prompt_checks.at_least)


def test_the_place_of_the_bad_prompt_is_named() -> None:
    """Details say which prompt it was."""
    prompts = [Prompt(text="cat", id="a"), Prompt(text=" ", id="b")]

    with pytest.raises(Problem) as refusal:
        prompt_checks.check(prompts, prompt_checks.at_least)

    assert refusal.value.details == {"prompt": 1}


def test_a_tokenizer_file_counts_exactly(tmp_path: Path) -> None:
    """With a tokenizer.json its count decides, not the bound."""
    tokenizers = pytest.importorskip("tokenizers")
    letters = {letter: place for place, letter in enumerate("abcdefghijklmnopqrstuvwxyz")}
    made = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=letters, merges=[]))
    made.enable_truncation(8)
    path = tmp_path / "tokenizer.json"
    made.save(str(path))

    count = prompt_checks.counter(path)

    assert count("a" * 40) == 40 > limits.MAX_TEXT_TOKENS
    assert prompt_checks.at_least("a" * 40) == 3
