"""Sessions, their refresh tokens, and the access tokens minted from them."""

import dataclasses
import datetime as dt
import secrets
import time
import uuid
from typing import Any

from devstack import tokens
from devstack.auth import errors, users, wire


#: A refresh token may be used again this long, for clients that race with themselves.
REUSE_SECONDS = 10

#: Which sessions a sign-out ends.
ENDED_BY_SCOPE = {
    "global": "delete from auth.sessions where user_id = %(user)s",
    "local": "delete from auth.sessions where user_id = %(user)s and id = %(session)s",
    "others": "delete from auth.sessions where user_id = %(user)s and id <> %(session)s",
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A signed-in user's session, with the refresh token that goes on from here."""

    id: uuid.UUID
    began_at: dt.datetime
    refresh_token: str
    user: dict[str, Any]

    def to_wire(self, signer: tokens.Tokens) -> dict[str, Any]:
        """The session as clients read it, with a fresh access token."""
        lifetime = signer.lifetime_seconds
        return {
            "access_token": signer.mint(self._claims()),
            "token_type": "bearer",
            "expires_in": lifetime,
            "expires_at": int(time.time()) + lifetime,
            "refresh_token": self.refresh_token,
            "user": users.to_wire(self.user),
        }

    def _claims(self) -> dict[str, Any]:
        user = self.user
        return {
            "sub": str(user["id"]),
            "aud": user["aud"],
            "role": user["role"],
            "email": user["email"],
            "phone": user["phone"] or "",
            "app_metadata": user["raw_app_meta_data"] or {},
            "user_metadata": user["raw_user_meta_data"] or {},
            "session_id": str(self.id),
            "aal": "aal1",
            "amr": [{"method": "password", "timestamp": int(self.began_at.timestamp())}],
            "is_anonymous": user["is_anonymous"],
        }


async def begin(cursor: wire.Cursor, user: dict[str, Any]) -> Session:
    session_id, token = uuid.uuid4(), _new_token()
    await cursor.execute(
        """
        with session as (
            insert into auth.sessions (id, user_id, created_at, updated_at, aal)
            values (%(session)s, %(user)s, now(), now(), 'aal1')
        ), signed_in as (
            update auth.users set last_sign_in_at = now() where id = %(user)s
        )
        select now() as began_at
        """,
        {"session": session_id, "user": user["id"]},
    )
    row = await cursor.fetchone()
    began_at = row["began_at"] if row else dt.datetime.now(dt.UTC)
    await _keep_token(cursor, token, session_id, user["id"], parent=None)
    signed_in = {**user, "last_sign_in_at": began_at}
    return Session(id=session_id, began_at=began_at, refresh_token=token, user=signed_in)


async def refresh(cursor: wire.Cursor, token: str) -> Session | None:
    """
    The session of *token* with its next token; None when *token* was stolen or replayed.

    The token before the current one gets the current one again, because its holder may have lost
    our answer. An older token is accepted for REUSE_SECONDS; later it revokes the whole family.
    Then None is returned and nothing raised, so that the transaction keeps the revocation.
    Raises: errors.RefreshTokenNotFoundError.
    """
    row = await _locked_token(cursor, token)
    user = await users.get(cursor, row["user"])
    if row["revoked"] and not _is_accepted(row, token):
        await _revoke(cursor, row["session_id"])
        return None
    if row["revoked"] and row["active_parent"] == token:
        current = row["active_token"]
    else:
        current = await _rotate(cursor, row, token)
    return Session(id=row["session_id"], began_at=row["began_at"], refresh_token=current, user=user)


async def end(cursor: wire.Cursor, caller: wire.Caller, scope: str) -> None:
    """Sign *caller* out. Raises: errors.ValidationFailedError, for an unknown *scope*."""
    if scope not in ENDED_BY_SCOPE:
        raise errors.ValidationFailedError(f'Unsupported logout scope "{scope}"')
    await cursor.execute(
        ENDED_BY_SCOPE[scope], {"user": caller.user_id, "session": caller.session_id}
    )


async def require(cursor: wire.Cursor, caller: wire.Caller) -> dict[str, Any]:
    """The caller's row. Raises: errors.UserGoneError, errors.SessionNotFoundError."""
    try:
        user = await users.get(cursor, caller.user_id)
    except errors.UserNotFoundError as error:
        raise errors.UserGoneError from error
    if caller.session_id is not None:
        await cursor.execute(
            "select from auth.sessions where id = %s and user_id = %s",
            (caller.session_id, caller.user_id),
        )
        if await cursor.fetchone() is None:
            raise errors.SessionNotFoundError
    return user


async def _locked_token(cursor: wire.Cursor, token: str) -> dict[str, Any]:
    """
    The row of *token* with its session, which stays locked until the transaction ends.

    The session is locked first, on its own: the token is then read as the last holder left it.
    """
    await cursor.execute(
        "select from auth.sessions where id ="
        " (select session_id from auth.refresh_tokens where token = %s) for update",
        (token,),
    )
    await cursor.execute(
        """
        select given.revoked, given.session_id, session.user_id as user,
            session.created_at as began_at, active.token as active_token,
            active.parent as active_parent,
            extract(epoch from clock_timestamp() - given.updated_at)::float as idle_seconds
        from auth.refresh_tokens as given
        inner join auth.sessions as session on session.id = given.session_id
        left join lateral (
            select token, parent from auth.refresh_tokens
            where session_id = given.session_id and not revoked
            order by id desc limit 1
        ) as active on true
        where given.token = %s
        """,
        (token,),
    )
    row = await cursor.fetchone()
    if row is None:
        raise errors.RefreshTokenNotFoundError
    return row


def _is_accepted(row: dict[str, Any], token: str) -> bool:
    """Whether the revoked *token* is still good; never once its whole family is revoked."""
    if row["active_token"] is None:
        return False
    return bool(row["active_parent"] == token or row["idle_seconds"] <= REUSE_SECONDS)


async def _rotate(cursor: wire.Cursor, row: dict[str, Any], token: str) -> str:
    """Replace all tokens of the session by a new one."""
    await _revoke(cursor, row["session_id"])
    new = _new_token()
    await _keep_token(cursor, new, row["session_id"], row["user"], parent=token)
    await cursor.execute(
        "update auth.sessions set refreshed_at = now(), updated_at = now() where id = %s",
        (row["session_id"],),
    )
    return new


async def _revoke(cursor: wire.Cursor, session_id: uuid.UUID) -> None:
    await cursor.execute(
        "update auth.refresh_tokens set revoked = true, updated_at = clock_timestamp()"
        " where session_id = %s and not revoked",
        (session_id,),
    )


async def _keep_token(
    cursor: wire.Cursor, token: str, session_id: uuid.UUID, user_id: uuid.UUID, parent: str | None
) -> None:
    await cursor.execute(
        "insert into auth.refresh_tokens"
        " (token, user_id, revoked, parent, session_id, created_at, updated_at)"
        " values (%s, %s, false, %s, %s, clock_timestamp(), clock_timestamp())",
        (token, str(user_id), parent, session_id),
    )


def _new_token() -> str:
    return secrets.token_urlsafe(16)
