"""What is read from an answer, whatever the receiver wrote."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhooks.delivery import sending


VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "vectors/retry_after.json").read_text()
)
"""Shared with the Edge Function deliver-webhooks."""

NOW = datetime.fromisoformat(VECTORS["now"])


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["header"])
def test_retry_after_is_read_in_both_spellings(vector: dict[str, Any]) -> None:
    """Seconds or an HTTP date become seconds, at most a day; the rest counts as absent."""
    assert sending.retry_after(vector["header"], NOW) == vector["seconds"]


@pytest.mark.parametrize("header", [None, "9" * 5000])
def test_no_header_or_a_huge_one_asks_for_nothing(header: str | None) -> None:
    """Neither is a number of seconds."""
    assert sending.retry_after(header, NOW) is None


@given(st.text())
def test_no_header_breaks_the_reading(header: str) -> None:
    """Any text is read without an error."""
    found = sending.retry_after(header, NOW)

    assert found is None or 0 < found <= sending.LONGEST_RETRY_AFTER_SECONDS


@given(st.binary(max_size=5000))
def test_any_bytes_become_text_that_can_be_stored(start: bytes) -> None:
    """The excerpt has at most 1024 characters, is UTF-8 and has no NUL."""
    text = sending.excerpt(start)

    assert len(text) <= sending.KEPT_CHARACTERS
    assert "\0" not in text.encode().decode()
