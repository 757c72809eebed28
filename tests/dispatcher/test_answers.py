"""What is read from an answer, whatever a receiver writes there."""

import email.utils
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher import answers


NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", None),
        ("-5", None),
        ("7", 7),
        (" 120 ", 120),
        ("1.5", None),
        ("86401", 86_400),
        ("9" * 20, 86_400),
        ("9" * 5000, None),
        ("²", None),
        ("soon", None),
        (email.utils.format_datetime(NOW + timedelta(hours=1), usegmt=True), 3601),
        (email.utils.format_datetime(NOW - timedelta(hours=1), usegmt=True), None),
        (email.utils.format_datetime(NOW + timedelta(days=30), usegmt=True), 86_400),
        ("Tue, 24 Nov 2026 12:00:10 -0000", 11),
        ("Tue, 99 Nov 2026 12:00:10 GMT", None),
    ],
)
def test_retry_after_is_read_in_both_spellings(header: str | None, seconds: int | None) -> None:
    """Seconds or an HTTP date become seconds, at most a day; the rest counts as absent."""
    assert answers.retry_after(header, NOW) == seconds


@given(st.text())
def test_no_header_breaks_the_reading(header: str) -> None:
    """Any text is read without an error."""
    found = answers.retry_after(header, NOW)

    assert found is None or 0 < found <= answers.LONGEST_RETRY_AFTER_SECONDS


@given(st.binary(max_size=5000))
def test_any_bytes_become_text_that_can_be_stored(start: bytes) -> None:
    """The excerpt has at most 1024 characters, is UTF-8 and has no NUL."""
    text = answers.excerpt(start)

    assert len(text) <= answers.KEPT_CHARACTERS
    assert "\0" not in text.encode().decode()
