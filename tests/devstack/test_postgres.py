"""The database: how it runs, and what a Supabase project finds in it."""

import hashlib
import hmac
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import conninfo

from devstack import errors, postgres, testing


Database = psycopg.AsyncConnection[Any]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("wal_level", "logical"),
        ("fsync", "off"),
        ("synchronous_commit", "on"),  # off delays logical decoding by 100 to 350 ms
        ("listen_addresses", "127.0.0.1"),
        ("unix_socket_directories", ""),
        ("server_encoding", "UTF8"),
        ("timezone", "UTC"),
    ],
)
async def test_settings_that_others_rely_on(db: Database, setting: str, value: str) -> None:
    """The feed, the tests' speed and their safety hang on these."""
    assert await one(db, "select current_setting(%s)", setting) == value


def test_the_password_is_asked_for(stack: testing.Stack) -> None:
    """Listening on 127.0.0.1 is no password."""
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(conninfo.make_conninfo(stack.db_url, password="wrong"))


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """A directory that every user may enter, which pytest's are not."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o711)
    yield path
    shutil.rmtree(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_it_runs_as_another_user_where_namespaces_are_forbidden(open_dir: Path) -> None:
    """As `nobody` it works too, its state survives, and it stops."""
    flags = ("--postgres-user", "nobody", "--migrations-dir", str(open_dir))
    for _ in range(2):
        process = testing.DevstackProcess(open_dir / "state", *flags)
        try:
            data = process.wait_ready().state_dir / "postgres"
            assert data.owner() == "nobody"
            assert (process.state_dir / "state.json").stat().st_mode & 0o077 == 0
        finally:
            assert process.stop() == 0


def test_a_folder_without_postgres_is_named(tmp_path: Path) -> None:
    """A --postgres-bin that points elsewhere is an error that says so."""
    with pytest.raises(errors.PostgresUnusableError, match=str(tmp_path)):
        postgres.find_binaries(tmp_path)


@pytest.mark.parametrize(
    ("role", "bypasses", "superuser"),
    [
        ("anon", False, False),
        ("authenticated", False, False),
        ("service_role", True, False),
        ("authenticator", False, False),
        ("supabase_auth_admin", False, False),
        ("supabase_realtime_admin", False, False),
        ("postgres", True, True),
    ],
)
async def test_roles_are_as_hosted(
    db: Database,
    role: str,
    bypasses: bool,  # noqa: FBT001  a column of the table above
    superuser: bool,  # noqa: FBT001  a column of the table above
) -> None:
    """Only the service role goes around row-level security."""
    rows = await db.execute(
        "select rolbypassrls, rolsuper from pg_roles where rolname = %s", (role,)
    )

    assert await rows.fetchone() == (bypasses, superuser)


async def test_policies_see_the_caller(db: Database) -> None:
    """auth.uid(), auth.role() and auth.jwt() read the claims of the request."""
    user = uuid.uuid4()
    claims = {"sub": str(user), "role": "authenticated", "email": "a@b.co"}
    async with db.transaction(force_rollback=True):
        await db.execute("select set_config('request.jwt.claims', %s, true)", (json.dumps(claims),))
        await db.execute("set local role authenticated")
        rows = await db.execute("select auth.uid(), auth.role(), auth.email(), auth.jwt()")

        assert await rows.fetchone() == (user, "authenticated", "a@b.co", claims)


async def test_without_a_caller_there_is_no_uid(db: Database) -> None:
    """No claims: null, not an error."""
    assert await one(db, "select auth.uid()") is None


async def test_new_tables_are_open_to_the_api_and_closed_by_row_security(db: Database) -> None:
    """As hosted: grants come by default, and row-level security decides."""
    async with db.transaction(force_rollback=True):
        await db.execute("create table public.notes as select 1 as id")
        await db.execute("set local role authenticated")
        assert await one(db, "select count(*) from public.notes") == 1
        await db.execute("reset role")
        await db.execute("alter table public.notes enable row level security")
        await db.execute("set local role authenticated")
        assert await one(db, "select count(*) from public.notes") == 0
        await db.execute("set local role service_role")
        assert await one(db, "select count(*) from public.notes") == 1


@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role"])
async def test_nobody_reads_the_users_through_the_api(db: Database, role: LiteralString) -> None:
    """Password hashes are for Auth alone."""
    async with db.transaction(force_rollback=True):
        await db.execute(f"set local role {role}")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            async with db.transaction():
                await db.execute("select encrypted_password from auth.users")


@pytest.mark.parametrize("algorithm", ["md5", "sha224", "sha256", "sha384", "sha512"])
async def test_the_pgcrypto_stand_in_computes_what_python_does(
    db: Database, algorithm: str
) -> None:
    """Digests and HMACs, with keys shorter and longer than a block."""
    for text, key in (("", "k"), ("message", "Jefe"), ("ü" * 300, "long" * 60)):
        digest = await one(db, "select extensions.digest(%s::text, %s)", text, algorithm)
        signed = await one(db, "select extensions.hmac(%s::text, %s, %s)", text, key, algorithm)

        assert digest == hashlib.new(algorithm, text.encode()).digest()
        assert signed == hmac.digest(key.encode(), text.encode(), algorithm)


async def test_random_bytes_have_the_asked_length_and_differ(db: Database) -> None:
    """`gen_random_bytes`, and the limits that pgcrypto has."""
    lengths = [len(await one(db, "select extensions.gen_random_bytes(%s)", n)) for n in (1, 1024)]

    assert lengths == [1, 1024]
    assert await one(
        db, "select extensions.gen_random_bytes(16) <> extensions.gen_random_bytes(16)"
    )
    with pytest.raises(psycopg.Error, match="Length not in range"):
        await db.execute("select extensions.gen_random_bytes(1025)")


async def test_functions_of_extensions_are_found_without_their_schema(db: Database) -> None:
    """As hosted, the search path has `extensions`."""
    assert await one(db, "select uuid_generate_v4() is not null and uuid_nil() is not null") is True


async def test_a_message_is_a_row(db: Database) -> None:
    """realtime.send writes what the feed reads: topic, event, payload with an id, privacy."""
    async with db.transaction(force_rollback=True):
        await db.execute("""select realtime.send('{"a": 1}', 'made', 'room:1')""")
        rows = await db.execute(
            "select topic, event, extension, private, payload - 'id', payload ? 'id'"
            " from realtime.messages where topic = 'room:1'"
        )

        assert await rows.fetchall() == [("room:1", "made", "broadcast", True, {"a": 1}, True)]


async def test_a_message_that_cannot_be_sent_is_a_warning(db: Database) -> None:
    """As hosted: the writer's transaction goes on."""
    notices: list[str] = []
    db.add_notice_handler(
        lambda notice: notices.append(f"{notice.severity} {notice.message_primary}")
    )

    await db.execute("select realtime.send(null, 'made', null)")

    assert len(notices) == 1
    assert notices[0].startswith("WARNING ErrorSendingBroadcastMessage: null value")


async def test_a_changed_row_is_broadcast_by_a_trigger(db: Database) -> None:
    """realtime.broadcast_changes carries the new row, the table and the operation."""
    async with db.transaction(force_rollback=True):
        await db.execute(
            """
            create table public.things (id int);
            create function public.tell() returns trigger language plpgsql as $$
            begin
                perform realtime.broadcast_changes(
                    'things', tg_op, tg_op, tg_table_name, tg_table_schema, new, old
                );
                return new;
            end $$;
            create trigger tell after insert on public.things
            for each row execute function public.tell();
            insert into public.things values (7);
            """
        )
        payload = await one(db, "select payload from realtime.messages where topic = 'things'")

    assert payload["record"] == {"id": 7}
    assert (payload["operation"], payload["table"]) == ("INSERT", "things")


async def test_row_security_decides_who_may_send(db: Database) -> None:
    """A user without a policy cannot write messages, neither directly nor by realtime.send."""
    async with db.transaction(force_rollback=True):
        await db.execute("set local role authenticated")
        await db.execute("select realtime.send('{}', 'made', 'room:2')")
        await db.execute("reset role")
        sent = await one(db, "select count(*) from realtime.messages where topic = 'room:2'")

    assert sent == 0


async def test_both_publications_exist(db: Database) -> None:
    """What the feed reads: the project's tables, and messages as they are inserted."""
    rows = await db.execute(
        "select pubname, pubinsert, pubupdate from pg_publication where pubname like 'supabase%'"
        " order by pubname"
    )

    assert await rows.fetchall() == [
        ("supabase_realtime", True, True),
        ("supabase_realtime_messages_publication", True, False),
    ]


async def one(db: Database, query: LiteralString, *values: object) -> Any:
    """The only value of the only row."""
    rows = await db.execute(query, values)
    found = await rows.fetchone()
    assert found is not None
    return found[0]
