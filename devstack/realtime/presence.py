"""Presence: the state that clients track on a channel, in the shape of Phoenix.Presence."""

import dataclasses
import itertools
from collections.abc import Hashable, Mapping
from typing import Any


#: Key → {"metas": [state, …]}, one state for each channel that tracks under the key.
State = dict[str, dict[str, list[dict[str, Any]]]]

_refs = itertools.count(1)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """What a client must add to and take from the state that it knows."""

    joins: State
    leaves: State


class Presence:
    """The tracked states of one topic, by the channel that tracks them."""

    def __init__(self) -> None:
        self._metas: dict[Hashable, tuple[str, dict[str, Any]]] = {}

    def state(self) -> State:
        state: State = {}
        for key, meta in self._metas.values():
            state.setdefault(key, {"metas": []})["metas"].append(meta)
        return state

    def track(self, who: Hashable, key: str, payload: Mapping[str, Any]) -> Diff:
        meta = {**payload, "phx_ref": f"devstack-{next(_refs)}"}
        before = self._metas.get(who)
        if before is not None:
            meta["phx_ref_prev"] = before[1]["phx_ref"]
        self._metas[who] = (key, meta)
        return Diff(joins=_one(key, meta), leaves=_one(*before) if before else {})

    def untrack(self, who: Hashable) -> Diff | None:
        """Forget *who*; None where nothing was tracked."""
        before = self._metas.pop(who, None)
        return Diff(joins={}, leaves=_one(*before)) if before else None


def _one(key: str, meta: dict[str, Any]) -> State:
    return {key: {"metas": [meta]}}
