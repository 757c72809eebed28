"""Migrations: applied once, in order, and recorded where the official CLI records them."""

import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import conninfo

from devstack import errors, migrations, testing


Database = psycopg.AsyncConnection[Any]


@pytest.fixture
async def database(stack: testing.Stack, db: Database) -> AsyncIterator[Database]:
    """A connection to a database of its own, which has no migrations yet."""
    name = f"migrations_{uuid.uuid4().hex[:8]}"
    await db.execute(f"create database {name}")
    dsn = conninfo.make_conninfo(stack.db_url, dbname=name)
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        await connection.execute(
            "create schema supabase_migrations;"
            "create table supabase_migrations.schema_migrations"
            " (version text primary key, statements text [], name text)"
        )
        yield connection
    await db.execute(f"drop database {name} with (force)")


async def test_a_migration_is_recorded_with_its_name_and_text(
    database: Database, tmp_path: Path
) -> None:
    """`supabase migration up` finds the version, and so nothing to do."""
    (tmp_path / "20260101000000_make_things.sql").write_text(
        "-- things\ncreate table things (id int);\n\ninsert into things values (1);\n"
    )

    applied = await migrations.apply_migrations(database, tmp_path)

    assert applied == ["20260101000000_make_things.sql"]
    assert await recorded(database) == [
        (
            "20260101000000",
            "make_things",
            ["-- things\ncreate table things (id int);\n\ninsert into things values (1);\n"],
        )
    ]


async def test_only_new_migrations_are_applied(database: Database, tmp_path: Path) -> None:
    """What is recorded is not applied again; what is new is, in the order of the versions."""
    (tmp_path / "2_b.sql").write_text("create table b as select * from a")
    (tmp_path / "1_a.sql").write_text("create table a (id int)")
    await migrations.apply_migrations(database, tmp_path)
    (tmp_path / "3_c.sql").write_text("create table c (id int)")

    assert await migrations.apply_migrations(database, tmp_path) == ["3_c.sql"]


async def test_a_file_with_another_name_is_skipped(database: Database, tmp_path: Path) -> None:
    """The official CLI skips it too."""
    (tmp_path / "notes.sql").write_text("select broken")

    assert await migrations.apply_migrations(database, tmp_path) == []


async def test_a_refused_migration_leaves_nothing(database: Database, tmp_path: Path) -> None:
    """A migration is all or nothing, and those before it stay."""
    (tmp_path / "1_good.sql").write_text("create table good (id int)")
    (tmp_path / "2_bad.sql").write_text("create table half (id int);\n\nselect broken from half;")

    with pytest.raises(errors.MigrationFailedError) as refused:
        await migrations.apply_migrations(database, tmp_path)

    assert "2_bad.sql, line 3" in str(refused.value)
    assert 'column "broken" does not exist' in str(refused.value)
    assert [version for version, _, _ in await recorded(database)] == ["1"]
    rows = await database.execute("select to_regclass('half')")
    assert await rows.fetchone() == (None,)


async def test_settings_of_one_migration_do_not_reach_the_next(
    database: Database, tmp_path: Path
) -> None:
    """Each file starts from a fresh session, as with the CLI."""
    (tmp_path / "1_set.sql").write_text("set search_path = ''")
    (tmp_path / "2_use.sql").write_text("create table unqualified (id int)")

    assert len(await migrations.apply_migrations(database, tmp_path)) == 2


def test_a_new_migration_is_applied_at_the_next_start(
    new_devstack: Callable[..., testing.DevstackProcess], tmp_path: Path
) -> None:
    """Add a file, start again, and it is there; a broken one stops the start and says where."""
    folder = tmp_path / "migrations"
    folder.mkdir()
    flags = ["--migrations-dir", str(folder)]
    first = new_devstack(*flags)
    first.wait_ready()
    first.stop()
    (folder / "1_late.sql").write_text("create table public.late as select 7 as seven")

    second = new_devstack(*flags)
    with psycopg.connect(second.wait_ready().db_url) as connection:
        assert connection.execute("select seven from public.late").fetchone() == (7,)
    second.stop()
    (folder / "2_broken.sql").write_text("create tabel typo ()")
    third = new_devstack(*flags)

    assert third.wait() == 1
    assert "2_broken.sql, line 1" in third.errors()


async def test_a_platform_of_another_version_is_refused(database: Database) -> None:
    """A state directory from other platform files is not half upgraded but named."""
    with pytest.raises(errors.OutdatedPlatformError, match="reset"):
        await migrations.apply_platform(database)


async def test_the_applied_platform_is_not_applied_again(db: Database) -> None:
    """Negative control of the above: with the right mark it is a no-op."""
    await migrations.apply_platform(db)


async def recorded(database: Database) -> list[tuple[str, str, list[str]]]:
    """What the database says was applied."""
    rows = await database.execute(
        "select version, name, statements from supabase_migrations.schema_migrations"
        " order by version"
    )
    return await rows.fetchall()
