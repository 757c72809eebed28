"""When a failed call is made again: after random pauses that grow, or as Retry-After says."""

import email.utils
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import tenacity


def retrying(
    may_pass: Callable[[BaseException], bool], *, attempts: int | None = 3, longest: float = 1.0
) -> tenacity.AsyncRetrying:
    """
    Repeat a call while *may_pass* says so of its error.

    Used as `await retrying(may_pass)(call, …)`. The last error is raised as it is.
    *attempts*: calls in all; None: the caller bounds the time. *longest*: pause in seconds.
    """
    return tenacity.AsyncRetrying(
        stop=tenacity.stop_never if attempts is None else tenacity.stop_after_attempt(attempts),
        wait=tenacity.wait_random_exponential(multiplier=longest / 10, max=longest),
        retry=tenacity.retry_if_exception(may_pass),
        reraise=True,
    )


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
