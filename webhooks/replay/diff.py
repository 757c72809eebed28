"""What differs between the recorded attempt and the new one."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from webhooks.replay.messages import Attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """Before and after."""

    status: tuple[str, str] | None
    """None: the same."""
    body: tuple[str, ...]
    """One line for each JSON path that changed, or one for the text."""
    latency_ms: tuple[int, int]

    @property
    def same(self) -> bool:
        """Whether status and body are as before; latency never is."""
        return self.status is None and not self.body


def compared(before: Attempt, after: Attempt) -> Diff:
    """The differences."""
    changed = before.told != after.told
    return Diff(
        status=(before.told, after.told) if changed else None,
        body=tuple(_bodies(before.answer, after.answer)),
        latency_ms=(before.latency_ms, after.latency_ms),
    )


def _bodies(before: bytes, after: bytes) -> Iterator[str]:
    try:
        yield from _values("$", json.loads(before), json.loads(after))
    except ValueError:
        # No JSON, or only its beginning was kept: compared as far as both are known.
        known = min(len(before), len(after))
        if before[:known] != after[:known] or (not known and before != after):
            yield f"text: {_text(before)} -> {_text(after)}"


def _values(path: str, before: Any, after: Any) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        for name in sorted(before.keys() | after.keys()):
            yield from _values(f"{path}.{name}", before.get(name), after.get(name))
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for place, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from _values(f"{path}[{place}]", old, new)
    elif before != after or type(before) is not type(after):
        yield f"{path}: {_short(json.dumps(before))} -> {_short(json.dumps(after))}"


def _short(text: str) -> str:
    most = 60
    return text if len(text) <= most else f"{text[:most]}..."


def _text(answer: bytes) -> str:
    return _short(repr(answer.decode(errors="replace")))
