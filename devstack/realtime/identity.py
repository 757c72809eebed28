"""Who a subscriber is to the database: a role and the claims that policies read."""

import dataclasses
import json
import time
from collections.abc import Mapping
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import TupleRow


Connection = AsyncConnection[TupleRow]

#: A policy that takes longer than this counts as a refusal, so that it cannot hold up the feed.
POLICY_TIMEOUT = "2s"

ASSUME = """
select
    set_config('statement_timeout', %(timeout)s, true),
    set_config('realtime.topic', %(topic)s, true),
    set_config('request.jwt.claims', %(claims)s, true),
    set_config('request.headers', '{}', true),
    set_config('role', %(role)s, true)
"""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A role and its claims. Equal identities see the same rows, so one check serves them all."""

    role: str
    #: The claims as JSON text.
    claims: str
    #: Unix time at which the token ends; infinite for a key that never does.
    expires_at: float = dataclasses.field(compare=False)

    @property
    def lifetime_seconds(self) -> float:
        return self.expires_at - time.time()


def of(claims: Mapping[str, Any]) -> Identity:
    return Identity(
        role=claims.get("role", "anon"),
        claims=json.dumps(claims, sort_keys=True),
        expires_at=float(claims.get("exp", "inf")),
    )


async def assume(connection: Connection, identity: Identity, *, topic: str = "") -> None:
    """
    Become *identity* until the end of the transaction, or of the savepoint, *connection* is in.

    Raises: psycopg.Error, for example for a role that does not exist.
    """
    await connection.execute(
        ASSUME,
        {
            "timeout": POLICY_TIMEOUT,
            "topic": topic,
            "claims": identity.claims,
            "role": identity.role,
        },
    )
