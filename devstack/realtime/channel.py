"""One joined channel: its configuration, its identity and its permissions."""

import asyncio
import dataclasses
import json
import math
import uuid
from collections.abc import Mapping
from typing import Any

from devstack.realtime import authorization, bindings, identity, outbox, phoenix


#: Every topic on the wire starts with this; the name the app chose follows.
TOPIC_PREFIX = "realtime:"


#: The longest a join may wait for the feed.
MAX_WAIT_SECONDS = 10.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The `config` of a join, with the platform's defaults."""

    private: bool = False
    #: Answer each broadcast of this client with a reply.
    ack: bool = False
    #: Send its own broadcasts back to it.
    echo: bool = False
    presence_key: str = dataclasses.field(default_factory=lambda: str(uuid.uuid4()))
    postgres_changes: tuple[Mapping[str, Any], ...] = ()
    #: Say so, by a system message, when broadcasts from the database will arrive.
    replication_ready: bool = False
    #: Answer the join only when the bindings are served; seconds to wait for it.
    wait_seconds: float | None = None
    wants_replay: bool = False


def read_config(join: Mapping[str, Any]) -> Config:
    """The configuration in a join's payload; what is missing or malformed takes its default."""
    config = _mapping(join.get("config"))
    broadcast, presence = _mapping(config.get("broadcast")), _mapping(config.get("presence"))
    return Config(
        private=config.get("private") is True,
        ack=broadcast.get("ack") is True,
        echo=broadcast.get("self") is True,
        presence_key=str(presence.get("key") or uuid.uuid4()),
        postgres_changes=_mappings(config.get("postgres_changes")),
        replication_ready=broadcast.get("replication_ready") is True,
        wait_seconds=_wait(_mapping(config.get("postgres_changes_options"))),
        wants_replay="replay" in broadcast,
    )


def _wait(options: Mapping[str, Any]) -> float | None:
    if options.get("wait") is not True:
        return None
    return min(_number(options.get("timeout")) / 1000 or MAX_WAIT_SECONDS, MAX_WAIT_SECONDS)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else 0.0


def _mappings(value: object) -> tuple[Mapping[str, Any], ...]:
    return tuple(one for one in value if isinstance(one, dict)) if isinstance(value, list) else ()


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


class Channel:
    """A client's membership of one topic."""

    def __init__(
        self,
        *,
        topic: str,
        join_ref: str | None,
        config: Config,
        version: phoenix.Version,
        box: outbox.Outbox,
        who: identity.Identity,
        token: str,
    ) -> None:
        self.topic = topic
        self.name = topic.removeprefix(TOPIC_PREFIX)
        self.join_ref = join_ref
        self.config = config
        self.version = version
        self.outbox = box
        self.who = who
        self.token = token
        self.may_read = authorization.PUBLIC
        #: Asked of the database at the first broadcast or track; None until then.
        self.may_write: authorization.Permissions | None = (
            None if config.private else authorization.PUBLIC
        )
        #: Bindings that the database has accepted.
        self.bindings: tuple[bindings.Binding, ...] = ()
        self.expiry: asyncio.TimerHandle | None = None

    @property
    def key(self) -> tuple[str, bool]:
        """Public and private channels of one name do not hear each other."""
        return self.name, self.config.private

    def push(self, event: str, payload: str, *, ref: str | None = None) -> None:
        sent = phoenix.Sent(
            topic=self.topic, event=event, payload=payload, ref=ref, join_ref=self.join_ref
        )
        self.outbox.put(sent.encode(self.version))

    def push_system(self, extension: str, message: str, *, ok: bool) -> None:
        """Send a `system` message about *extension*."""
        payload = {
            "channel": self.name,
            "extension": extension,
            "message": message,
            "status": "ok" if ok else "error",
        }
        self.push("system", json.dumps(payload))

    def push_close(self) -> None:
        self.push("phx_close", "{}", ref=self.join_ref)
