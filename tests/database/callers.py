"""Callers of the database: a role and the claims of a token, as PostgREST passes them on."""

import dataclasses
import json
import uuid
from typing import Any

import psycopg
import psycopg_pool
from psycopg import sql
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb


Pool = psycopg_pool.AsyncConnectionPool[psycopg.AsyncConnection[DictRow]]

#: Callers at once; more wait for a connection.
CALLER_COUNT = 40


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A caller of PostgREST: a database role and the claims of a token."""

    pool: Pool
    #: `authenticated`, `anon`, `service_role`; None is the superuser at psql.
    role: str | None
    #: The Auth user's id; empty for the service role.
    id: str = ""
    #: `app_metadata.kind` of the token.
    kind: str | None = None

    async def rows(self, query: str, *values: Any) -> list[DictRow]:
        """Run *query* in a transaction of one's own, as PostgREST does; its rows."""
        async with self.pool.connection() as connection, connection.transaction():
            await self._dress(connection)
            cursor = await connection.execute(query.encode(), [_plain(value) for value in values])
            return await cursor.fetchall() if cursor.description else []

    async def value(self, query: str, *values: Any) -> Any:
        """The single value that *query* answers."""
        rows = await self.rows(query, *values)
        return next(iter(rows[0].values()))

    async def blocks(self, call: str) -> int:
        """Blocks of 8 KiB that a call looks at, its functions within too; nothing is kept."""
        query = f"explain (analyze, buffers, format json) select {call}"
        read = []
        async with self.pool.connection() as connection:
            # The first ones read the catalogues too.
            for _ in range(3):
                async with connection.transaction(force_rollback=True):
                    await self._dress(connection)
                    [row] = await (await connection.execute(query.encode())).fetchall()
                [explained] = row["QUERY PLAN"]
                plan = explained["Plan"]
                read.append(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])
        return min(read)

    async def table(self, function: str, **arguments: Any) -> list[DictRow]:
        """The rows of a function in `public`, by `/rpc/<function>`."""
        named = sql.SQL(", ").join(
            sql.SQL("{} => {}").format(sql.Identifier(name), sql.Placeholder(name))
            for name in arguments
        )
        query = sql.SQL("select * from {}({})").format(sql.Identifier("public", function), named)
        plain = {name: _plain(value) for name, value in arguments.items()}
        async with self.pool.connection() as connection, connection.transaction():
            await self._dress(connection)
            return await (await connection.execute(query, plain)).fetchall()

    async def call(self, function: str, **arguments: Any) -> Any:
        """The single answer of a function in `public`."""
        return next(iter((await self.table(function, **arguments))[0].values()))

    async def queue(self, count: int, **columns: Any) -> list[str]:
        """Insert *count* tasks, each on a picture of its own; their ids, first come first."""
        values = {"prompts": [{"text": "cat"}]} | columns
        names = sql.SQL(", ").join(map(sql.Identifier, values))
        places = sql.SQL(", ").join([sql.Placeholder()] * len(values))
        query = sql.SQL(
            "insert into public.segmentation_results (source_image_url, {})"
            " select %s || n || '.png', {} from generate_series(1, %s) as n returning id"
        ).format(names, places)
        pictures = f"uploads/{self.id}/{uuid.uuid4().hex}-"
        plain = [_plain(value) for value in values.values()]
        async with self.pool.connection() as connection, connection.transaction():
            await self._dress(connection)
            rows = await connection.execute(query, [pictures, *plain, count])
            return [str(row["id"]) for row in await rows.fetchall()]

    async def credits(self) -> int:
        """What this user may still spend."""
        balance: int = await self.value("select credits from public.users_profile")
        return balance

    async def submit(self, **arguments: Any) -> DictRow:
        """Submit a task of one text prompt on a picture of its own, unless told otherwise."""
        picture = self.upload(uuid.uuid4().hex)
        defaults = {"p_source_image_url": picture, "p_prompts": [{"text": "cat"}]}
        answer = await self.call("submit_task", **defaults | arguments)
        task: DictRow = answer["task"]
        return task

    async def claim(self, limit: int = 1, **arguments: Any) -> list[DictRow]:
        """Claim due tasks."""
        defaults = {"p_worker": "w", "p_limit": limit}
        return await self.table("claim_tasks", **defaults | arguments)

    async def complete(self, claim: DictRow, **arguments: Any) -> str:
        """Settle a claim with results where they belong; the answer."""
        prefix = f"results/{claim['user_id']}/{claim['id']}/{claim['token']}/"
        defaults = {
            "p_token": claim["token"],
            "p_manifest_url": prefix + "manifest.json",
            "p_mask_image_url": prefix + "mask.png",
            "p_overlay_image_url": None,
            "p_instance_count": 2,
            "p_summary": {"prompts": []},
        }
        answer: str = await self.call("complete_task", **defaults | arguments)
        return answer

    def upload(self, name: str = "0" * 64) -> str:
        """Key of a picture of this user."""
        return f"uploads/{self.id}/{name}.png"

    async def _dress(self, connection: psycopg.AsyncConnection[DictRow]) -> None:
        claims: dict[str, Any] = {"role": self.role, "app_metadata": {"kind": self.kind}}
        if self.id:
            claims["sub"] = self.id
        if self.role is not None:
            await connection.execute(
                "select set_config('role', %s, true), set_config('request.jwt.claims', %s, true)",
                [self.role, json.dumps(claims)],
            )


def _plain(value: Any) -> Any:
    return Jsonb(value) if isinstance(value, dict | list) else value
