"""Apply the platform once, and each migration of the project once, in order."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import psycopg

from devstack import errors


PLATFORM = Path(__file__).resolve().parent / "platform"

#: The official CLI's rule for file names; it skips what does not fit, and so do we.
FILE_NAME = re.compile(r"(?P<version>\d+)_(?P<name>.*)\.sql")

#: How much of a refused statement an error shows.
EXCERPT_CHARACTERS = 300

Connection = psycopg.AsyncConnection[tuple[object, ...]]


async def apply_platform(connection: Connection) -> None:
    """
    Give an empty database what Supabase provides; do nothing when it is there.

    All of it is one transaction whose last act is the mark, so a killed start leaves none of it.
    Raises: errors.OutdatedPlatformError, errors.MigrationFailedError.
    """
    files = sorted(PLATFORM.glob("*.sql"))
    shims = sorted(PLATFORM.glob("shims/extension/*"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in (*files, *shims))).hexdigest()
    mark = f"devstack platform {digest[:16]}"
    found = await _platform_mark(connection)
    if found == mark:
        return
    if found is not None:
        raise errors.OutdatedPlatformError(
            "This state directory was made by another version of devstack/platform."
            " Forget it with `python -m devstack reset`."
        )
    async with connection.transaction():
        for path in files:
            await execute(connection, path, path.read_text())
        await connection.execute(f"comment on schema supabase_migrations is '{mark}'")


async def apply_migrations(connection: Connection, directory: Path) -> list[str]:
    """
    Apply what *directory* has and the database has not; the names of the files, in order.

    Each file is one transaction, recorded in supabase_migrations.schema_migrations as the
    official CLI records it. Raises: errors.MigrationFailedError.
    """
    rows = await connection.execute("select version from supabase_migrations.schema_migrations")
    known = {version for (version,) in await rows.fetchall()}
    applied = []
    for version, name, path in migration_files(directory):
        if version in known:
            continue
        async with connection.transaction():
            await execute(connection, path, path.read_text())
            await connection.execute(
                "insert into supabase_migrations.schema_migrations (version, name, statements)"
                " values (%s, %s, %s)",
                (version, name, [path.read_text()]),
            )
        # A migration may have changed settings of the session, as `set search_path` does.
        await connection.execute("reset all")
        applied.append(path.name)
    return applied


def migration_files(directory: Path) -> Iterator[tuple[str, str, Path]]:
    """Version, name and path of each migration in *directory*, oldest first."""
    for path in sorted(directory.glob("*.sql")):
        if match := FILE_NAME.fullmatch(path.name):
            yield match["version"], match["name"], path


async def _platform_mark(connection: Connection) -> str | None:
    """The mark, an empty text when the schema is there without one, None when it is not."""
    rows = await connection.execute(
        "select coalesce(obj_description(oid, 'pg_namespace'), '') from pg_namespace"
        " where nspname = 'supabase_migrations'"
    )
    row = await rows.fetchone()
    return None if row is None else str(row[0])


async def execute(connection: Connection, path: Path, text: str) -> None:
    """Run the *text* of the file *path*. Raises: errors.MigrationFailedError."""
    try:
        await connection.execute(text.encode())
    except psycopg.Error as error:
        raise errors.MigrationFailedError(_refusal(path, text, error)) from error


def _refusal(path: Path, text: str, error: psycopg.Error) -> str:
    detail = error.diag
    place, excerpt = str(path), ""
    if detail.statement_position is not None:
        at = int(detail.statement_position) - 1
        place = f"{path}, line {text.count(chr(10), 0, at) + 1}"
        excerpt = text[text.rfind("\n", 0, at) + 1 :][:EXCERPT_CHARACTERS]
    more = {
        "detail": detail.message_detail,
        "hint": detail.message_hint,
        "context": detail.context,
    }
    told = [f"{key}: {value}" for key, value in more.items() if value]
    lines = [f"{place}: {detail.message_primary or error}", *told, excerpt]
    return "\n".join(line for line in lines if line)
