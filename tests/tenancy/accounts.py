"""Five accounts, one for each role, and a new row of user A in each table."""

import json
import uuid
from dataclasses import dataclass
from typing import Any

import httpx
import psycopg
from psycopg.types.json import Jsonb
from tenancy.matrix import Role

from devstack.testing import Stack


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One role with its access token; anon has the public key instead."""

    role: Role
    id: str
    token: str


class Accounts:
    """The five accounts, made once per module."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.http = httpx.Client(base_url=stack.url, headers={"apikey": stack.anon_key})
        self.by_role = {
            Role.ANON: Account(role=Role.ANON, id=str(uuid.UUID(int=0)), token=stack.anon_key),
            Role.OWNER: self._user(Role.OWNER),
            Role.OTHER: self._user(Role.OTHER),
            Role.MACHINE: self._machine(Role.MACHINE, enabled=True),
            Role.DISABLED: self._machine(Role.DISABLED, enabled=False),
        }

    @property
    def owner(self) -> Account:
        """User A."""
        return self.by_role[Role.OWNER]

    def ask(
        self, role: Role, method: str, path: str, *, json_body: Any = None, **headers: str
    ) -> httpx.Response:
        """Make one REST call as *role*."""
        return self.http.request(
            method,
            f"/rest/v1/{path}",
            json=json_body,
            headers={"Authorization": f"Bearer {self.by_role[role].token}", **headers},
        )

    def row_of(self, table: str, database: psycopg.Connection[Any]) -> str:
        """Make a new row of user A in *table* and return its id."""
        if table == "users_profile":
            return self.owner.id
        if table == "usage_logs":
            self.row_of("segmentation_results", database)
            return self._one(
                database, "select max(id) from public.usage_logs where user_id = %s", self.owner.id
            )
        if table.startswith("webhook_"):
            return self.webhook_row_of(table, database)
        with database.transaction():
            database.execute("set local role authenticated")
            claims = json.dumps({"sub": self.owner.id, "role": "authenticated"})
            database.execute("select set_config('request.jwt.claims', %s, true)", [claims])
            values = self.values_of(table).values()
            adapted = [Jsonb(value) if isinstance(value, list) else value for value in values]
            return self._one(database, INSERTS[table], *adapted)

    def webhook_row_of(self, table: str, database: psycopg.Connection[Any]) -> str:
        """Make a new row of a table of webhooks, and the rows that it refers to."""
        endpoint = self._one(database, INSERTS["webhook_endpoints"], self.owner.id)
        if table == "webhook_endpoints":
            return endpoint
        delivery = self._one(database, INSERTS["webhook_deliveries"], endpoint, self.owner.id)
        if table == "webhook_deliveries":
            return delivery
        return self._one(database, INSERTS["webhook_attempts"], delivery, self.owner.id)

    def values_of(self, table: str) -> dict[str, Any]:
        """Values that user A inserts into *table*."""
        if table == "projects":
            return {"user_id": self.owner.id, "name": "p"}
        if table == "segmentation_results":
            return {
                "source_image_url": f"uploads/{self.owner.id}/a.png",
                "prompts": [{"id": "p0", "text": "red circle"}],
            }
        if table == "users_profile":
            return {"id": self.owner.id}
        if table.startswith("webhook_"):
            return {"user_id": self.owner.id}
        return {"user_id": self.owner.id, "action": "grant", "credits_used": 1000}

    def _one(self, database: psycopg.Connection[Any], query: str, *values: Any) -> str:
        row = database.execute(query.encode(), values).fetchone()
        assert row is not None
        return str(row[0])

    def _user(self, role: Role) -> Account:
        body = {"email": f"{uuid.uuid4().hex}@example.com", "password": uuid.uuid4().hex}
        answer = self.http.post("/auth/v1/signup", json=body).raise_for_status().json()
        return Account(role=role, id=answer["user"]["id"], token=answer["access_token"])

    def _machine(self, role: Role, *, enabled: bool) -> Account:
        body = {
            "email": f"{uuid.uuid4().hex}@machines.invalid",
            "password": uuid.uuid4().hex,
            "email_confirm": True,
            "app_metadata": {"kind": "gpu"},
        }
        key = {
            "apikey": self.stack.service_key,
            "Authorization": f"Bearer {self.stack.service_key}",
        }
        made = self.http.post("/auth/v1/admin/users", json=body, headers=key).raise_for_status()
        identity = made.json()["id"]
        self._operate("register_machine", {"p_id": identity, "p_name": str(role)}, key)
        self._operate("set_machine_enabled", {"p_id": identity, "p_enabled": enabled}, key)
        signed_in = self.http.post(
            "/auth/v1/token?grant_type=password",
            json={"email": body["email"], "password": body["password"]},
        ).raise_for_status()
        return Account(role=role, id=identity, token=signed_in.json()["access_token"])

    def _operate(self, function: str, arguments: dict[str, Any], key: dict[str, str]) -> None:
        self.http.post(f"/rest/v1/rpc/{function}", json=arguments, headers=key).raise_for_status()


INSERTS = {
    "projects": "insert into public.projects (user_id, name) values (%s, %s) returning id",
    "segmentation_results": "insert into public.segmentation_results (source_image_url, prompts)"
    " values (%s, %s) returning id",
    "webhook_endpoints": "insert into public.webhook_endpoints (user_id, url, events)"
    " values (%s, 'https://receiver.example', '{task.done}') returning id",
    "webhook_deliveries": "insert into public.webhook_deliveries"
    " (endpoint_id, user_id, event, body) values (%s, %s, 'webhook.test', '{}') returning id",
    "webhook_attempts": "insert into public.webhook_attempts (delivery_id, user_id, latency_ms)"
    " values (%s, %s, 1) returning id",
}
