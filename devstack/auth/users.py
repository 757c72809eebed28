"""The rows of auth.users and auth.identities, and how they look on the wire."""

import dataclasses
import datetime as dt
import uuid
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from devstack.auth import errors, wire


SELECT = """
    select users.*, (
        select coalesce(jsonb_agg(to_jsonb(identities) order by identities.created_at), '[]')
        from auth.identities where identities.user_id = users.id
    ) as identities
    from auth.users
"""

EMAIL_KEY = "users_email_partial_key"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NewUser:
    id: uuid.UUID
    email: str
    password_hash: str
    confirmed: bool
    app_metadata: dict[str, Any]
    user_metadata: dict[str, Any]
    role: str = "authenticated"


async def create(
    cursor: wire.Cursor, user: NewUser, taken: type[errors.AuthError]
) -> dict[str, Any]:
    """
    The row of the new *user*.

    Raises: *taken* when the email is; errors.DatabaseError when a project's trigger refuses.
    """
    try:
        await cursor.execute(
            """
            insert into auth.users (
                id, instance_id, aud, role, email, encrypted_password, email_confirmed_at,
                raw_app_meta_data, raw_user_meta_data, created_at, updated_at,
                is_anonymous
            )
            values (
                %s, '00000000-0000-0000-0000-000000000000', 'authenticated', %s, %s, %s,
                case when %s then now() end, %s, %s, now(), now(), false
            )
            """,
            (
                user.id,
                user.role,
                user.email,
                user.password_hash,
                user.confirmed,
                Jsonb(user.app_metadata),
                Jsonb(user.user_metadata),
            ),
        )
    except psycopg.errors.UniqueViolation as error:
        if error.diag.constraint_name == EMAIL_KEY:
            raise taken from error
        raise errors.DatabaseError from error
    except psycopg.OperationalError:
        raise  # the connection is gone; nothing was refused
    except psycopg.Error as error:
        raise errors.DatabaseError from error
    await cursor.execute(
        """
        insert into auth.identities (
            provider_id, user_id, identity_data, provider, last_sign_in_at, created_at, updated_at
        )
        values (%s, %s, %s, 'email', now(), now(), now())
        """,
        (str(user.id), user.id, Jsonb(identity_data(user.id, user.email))),
    )
    return await get(cursor, user.id)


async def get(cursor: wire.Cursor, user_id: uuid.UUID) -> dict[str, Any]:
    """The row of the user *user_id*. Raises: errors.UserNotFoundError."""
    await cursor.execute(SELECT + "where users.id = %s and users.deleted_at is null", (user_id,))
    row = await cursor.fetchone()
    if row is None:
        raise errors.UserNotFoundError
    return row


async def find(cursor: wire.Cursor, email: str) -> dict[str, Any] | None:
    await cursor.execute(SELECT + "where users.email = %s and users.deleted_at is null", (email,))
    return await cursor.fetchone()


async def page(cursor: wire.Cursor, number: int, size: int) -> tuple[list[dict[str, Any]], int]:
    """Users of the page *number* (from 1), newest first, and how many users there are."""
    await cursor.execute(
        SELECT + "order by users.created_at desc, users.id limit %s offset %s",
        (size, (number - 1) * size),
    )
    rows = await cursor.fetchall()
    await cursor.execute("select count(*) as total from auth.users")
    counted = await cursor.fetchone()
    return rows, counted["total"] if counted else 0


async def change(
    cursor: wire.Cursor, user_id: uuid.UUID, values: dict[str, Any], taken: type[errors.AuthError]
) -> dict[str, Any]:
    """
    The row of the user *user_id* after some of its columns got new *values*.

    Raises: *taken* when the email is, errors.UserNotFoundError.
    """
    columns = psycopg.sql.SQL(", ").join(
        psycopg.sql.SQL("{} = %s").format(psycopg.sql.Identifier(name)) for name in values
    )
    if values:
        update = psycopg.sql.SQL("update auth.users set updated_at = now(), {} where id = %s")
        try:
            await cursor.execute(update.format(columns), [*values.values(), user_id])
        except psycopg.errors.UniqueViolation as error:
            raise taken from error
    if "email" in values:
        await cursor.execute(
            "update auth.identities set identity_data = identity_data || %s, updated_at = now()"
            " where user_id = %s and provider = 'email'",
            (Jsonb({"email": values["email"]}), user_id),
        )
    return await get(cursor, user_id)


def identity_data(user_id: uuid.UUID, email: str) -> dict[str, Any]:
    """What GoTrue notes about a user who came by email."""
    return {"email": email, "email_verified": True, "phone_verified": False, "sub": str(user_id)}


def merged(kept: dict[str, Any] | None, changes: dict[str, Any]) -> Jsonb:
    """Metadata after *changes*; a null removes its key."""
    both = {**(kept or {}), **changes}
    return Jsonb({key: value for key, value in both.items() if value is not None})


def to_wire(row: dict[str, Any]) -> dict[str, Any]:
    """The user of *row* as clients read it."""
    user = {
        "id": str(row["id"]),
        "aud": row["aud"],
        "role": row["role"],
        "email": row["email"] or "",
        "phone": row["phone"] or "",
        "email_confirmed_at": instant(row["email_confirmed_at"]),
        "confirmed_at": instant(row["confirmed_at"]),
        "last_sign_in_at": instant(row["last_sign_in_at"]),
        "deleted_at": instant(row["deleted_at"]),
        "app_metadata": row["raw_app_meta_data"] or {},
        "user_metadata": row["raw_user_meta_data"] or {},
        "identities": [_identity(identity) for identity in row["identities"]],
        "created_at": instant(row["created_at"]),
        "updated_at": instant(row["updated_at"]),
        "is_anonymous": row["is_anonymous"],
    }
    return {key: value for key, value in user.items() if value is not None}


def instant(moment: dt.datetime | None) -> str | None:
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")


def _identity(identity: dict[str, Any]) -> dict[str, Any]:
    """As jsonb_agg made it; on the wire `id` is the provider's and the row's is `identity_id`."""
    return {**identity, "identity_id": identity["id"], "id": identity["provider_id"]}
