"""Ids stand in URLs, which may not grow for ever."""

from collections.abc import Sequence
from typing import Final


IDS_AT_ONCE: Final = 100


def portions(ids: Sequence[str]) -> list[tuple[str, ...]]:
    """The same ids, so many at once as fit."""
    return [tuple(ids[start : start + IDS_AT_ONCE]) for start in range(0, len(ids), IDS_AT_ONCE)]
