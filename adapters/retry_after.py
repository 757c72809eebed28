"""Reads Retry-After headers, which strangers write."""

import email.utils
import re
from datetime import UTC, datetime
from typing import Final


LONGEST_SECONDS: Final = 366 * 86_400
"""Longer than any wait, and short enough to be added to any time."""


def seconds_of(header: str | None, now: datetime | None = None) -> int | None:
    """
    Whole seconds to wait, rounded up, by a header in seconds or as an HTTP date; at most a year.

    0: at once, or the date has passed. None: there is no header, or it cannot be read.
    """
    header = (header or "").strip()
    # A longer number is over a year anyway, and int() must not work on it.
    if re.fullmatch(r"[0-9]{1,20}", header):
        return min(int(header), LONGEST_SECONDS)
    return _until(header, now or datetime.now(UTC))


def _until(text: str, now: datetime) -> int | None:
    try:
        moment = email.utils.parsedate_to_datetime(text)
    # OverflowError: a year that no calendar has.
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    away = (moment - now).total_seconds()
    return min(int(away) + 1, LONGEST_SECONDS) if away > 0 else 0
