"""Retry-After as strangers write it."""

from datetime import UTC, datetime

import pytest

from adapters.retrying import LONGEST_SECONDS, seconds_of


NOW = datetime(2026, 11, 26, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        (" 7 ", 7),
        ("Thu, 26 Nov 2026 12:00:30 GMT", 31),
        ("Thu, 26 Nov 2026 11:00:00 GMT", 0),
        ("Thu, 26 Nov 2026 12:00:30", 31),
        ("99999999999999999999", LONGEST_SECONDS),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_SECONDS),
    ],
)
def test_a_readable_header_is_seconds(header: str, seconds: int) -> None:
    """Seconds or a date, rounded up, never below 0, never more than can be added to a moment."""
    assert seconds_of(header, NOW) == seconds


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "soon",
        "-5",
        "1.5",
        "1e3",
        "٣",
        "²",
        "9" * 5000,
        "Wed, 21 Oct 99999999999999999999 07:28:00 GMT",
        "Wed, 99 Oct 2026 07:28:00 GMT",
        "Wed, 21 Oct 2026 99:99:99 GMT",
    ],
)
def test_what_cannot_be_read_asks_for_nothing(header: str | None) -> None:
    """No header makes its reader raise, whatever a stranger puts into it."""
    assert seconds_of(header, NOW) is None
