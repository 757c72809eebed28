"""All joined channels: which of them an event reaches, and who is present on them."""

import collections
import dataclasses
import itertools
import json
from collections.abc import Hashable, Iterator, Mapping
from typing import Any

from devstack.realtime import bindings, channel, pgoutput, phoenix


Key = tuple[str, bool]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Broadcast:
    """One message to the channels of a topic, public or private."""

    name: str
    private: bool
    event: str
    #: The whole payload as JSON text; None for raw bytes.
    payload: str | None = None
    raw: bytes = b""

    @property
    def key(self) -> Key:
        return self.name, self.private


def message(
    *, name: str, private: bool, event: str, payload: str, meta: dict[str, Any] | None = None
) -> Broadcast:
    """A broadcast of *payload*, JSON text."""
    start = f'{{"type":"broadcast","event":{json.dumps(event)},"payload":{payload}'
    enveloped = start + (f',"meta":{json.dumps(meta)}}}' if meta else "}")
    return Broadcast(name=name, private=private, event=event, payload=enveloped)


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


class Hub:
    """Knows who joined what. Nothing here waits: sending is putting into an outbox."""

    def __init__(self) -> None:
        self._channels: dict[Key, set[channel.Channel]] = collections.defaultdict(set)
        self._presences: dict[Key, Presence] = {}

    def add(self, joined: channel.Channel) -> None:
        self._channels[joined.key].add(joined)

    def remove(self, left: channel.Channel) -> None:
        """Let *left* receive no more, and tell the others that it is gone."""
        self._channels[left.key].discard(left)
        self.untrack(left)
        if not self._channels[left.key]:
            del self._channels[left.key]
            self._presences.pop(left.key, None)

    def is_heard(self, key: Key) -> bool:
        return key in self._channels

    def listeners(self) -> Iterator[channel.Channel]:
        """Channels with accepted `postgres_changes` bindings."""
        return (one for one in self._everybody() if one.bindings)

    def subscriptions(
        self, change: pgoutput.Change
    ) -> Iterator[tuple[channel.Channel, bindings.Binding]]:
        """Channels and their bindings that *change* matches, filters aside."""
        for one in self.listeners():
            for binding in one.bindings:
                if binding.matches(change):
                    yield one, binding

    def announce(self) -> None:
        """Tell those who wait for it that the feed from the database is live."""
        for one in list(self._everybody()):
            announce_to(one)

    def broadcast(self, sent: Broadcast, *, sender: channel.Channel | None = None) -> None:
        """Deliver *sent* to its topic; *sender* gets it back only if it asked for that."""
        frames: dict[phoenix.Version, str | bytes | None] = {}
        for one in self._channels.get(sent.key, ()):
            if not one.may_read.broadcast or (one is sender and not one.config.echo):
                continue
            if one.version not in frames:
                frames[one.version] = _frame(sent, one.topic, one.version)
            frame = frames[one.version]
            if frame is not None:
                one.outbox.put(frame)

    def presence_state(self, joined: channel.Channel) -> State:
        """What *joined* may know about who is here."""
        here = self._presences.get(joined.key)
        return here.state() if here is not None and joined.may_read.presence else {}

    def track(self, who: channel.Channel, payload: dict[str, Any]) -> None:
        """Set what *who* shows of itself, and tell the topic."""
        here = self._presences.setdefault(who.key, Presence())
        self._push_diff(who.key, here.track(who, who.config.presence_key, payload))

    def untrack(self, who: channel.Channel) -> None:
        """Forget what *who* showed, and tell the topic."""
        here = self._presences.get(who.key)
        diff = here.untrack(who) if here is not None else None
        if diff is not None:
            self._push_diff(who.key, diff)

    def _push_diff(self, key: Key, diff: Diff) -> None:
        payload = json.dumps(dataclasses.asdict(diff))
        for one in self._channels.get(key, ()):
            if one.may_read.presence:
                one.push("presence_diff", payload)

    def _everybody(self) -> Iterator[channel.Channel]:
        for group in self._channels.values():
            yield from group


def announce_to(one: channel.Channel) -> None:
    """Tell *one* that what it subscribed to arrives from now on."""
    if one.bindings:
        one.push_system("postgres_changes", "Subscribed to PostgreSQL", ok=True)
    if one.config.replication_ready:
        one.push_system("system", "Replication connection established", ok=True)


def _frame(sent: Broadcast, topic: str, version: phoenix.Version) -> str | bytes | None:
    if sent.payload is not None:
        return phoenix.Sent(topic=topic, event="broadcast", payload=sent.payload).encode(version)
    if version is phoenix.Version.V2:
        return phoenix.encode_binary(topic=topic, event=sent.event, payload=sent.raw)
    return None  # version 1 cannot say raw bytes, on the hosted platform neither
