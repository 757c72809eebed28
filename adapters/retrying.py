"""How a failed call is made again: a few times, after random pauses that grow."""

from collections.abc import Callable

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
