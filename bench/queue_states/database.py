"""One connection to the queue: the superuser's, that calls functions in others' names."""

import json
from typing import Any, Final

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb


SERVICE: Final = "service"
"""The caller with the service key; every other caller is a user's id."""

Row = dict[str, Any]


class Database:
    """Calls as PostgREST makes them, and looks past it."""

    def __init__(self, db_url: str) -> None:
        """Connect as the superuser at *db_url*."""
        self._db = psycopg.connect(db_url, autocommit=True, row_factory=dict_row)

    def close(self) -> None:
        """Disconnect."""
        self._db.close()

    def now(self) -> float:
        """The database's clock."""
        [row] = self.rows("select clock_timestamp() as now")
        return float(row["now"].timestamp())

    def rows(self, query: str, *values: Any) -> list[Row]:
        """What the superuser asks."""
        cursor = self._db.execute(query.encode(), values or None)
        return cursor.fetchall() if cursor.description else []

    def call(self, caller: str, function: str, **arguments: Any) -> Any:
        """The single answer of a function in `public`."""
        return next(iter(self.table(caller, function, **arguments)[0].values()))

    def table(self, caller: str, function: str, **arguments: Any) -> list[Row]:
        """The rows of a function in `public`, called in a transaction of its own."""
        role = "service_role" if caller == SERVICE else "authenticated"
        claims = {"role": role} if caller == SERVICE else {"role": role, "sub": caller}
        named = ", ".join(f"{name} => %({name})s" for name in arguments)
        plain = {
            name: Jsonb(value) if isinstance(value, dict | list) else value
            for name, value in arguments.items()
        }
        with self._db.transaction():
            self._db.execute(
                "select set_config('role', %s, true), set_config('request.jwt.claims', %s, true)",
                [role, json.dumps(claims)],
            )
            query = f"select * from public.{function}({named})"
            return self._db.execute(query.encode(), plain).fetchall()
