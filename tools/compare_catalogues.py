# noqa: INP001 - a script to run by hand, no package
"""
Compare what two sets of migrations make: `compare_catalogues.py BEFORE AFTER`.

Each of the two is a folder of migrations or a Git revision of this repository. Each is applied to
an empty devstack of its own; then everything is compared that Postgres knows of the two databases,
and all rows, which are the seeds. It prints the difference and ends with status 1 if there is one.
It is the proof that squashed migrations make the database that the old ones made. The order of a
table's columns is reported, but is no difference: nothing here reads columns by position.
"""

import contextlib
import difflib
import io
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, LiteralString

import psycopg
from psycopg import sql

from devstack.testing import DevstackProcess


REPOSITORY: Final = Path(__file__).resolve().parent.parent
MIGRATIONS: Final = "supabase/migrations"

#: Kind and name of an object, and all that Postgres says of it.
Catalogue = dict[tuple[str, str], str]

#: Schemas that no migration writes to: Postgres's own, and the record of which migrations ran.
_FOREIGN: Final[LiteralString] = (
    "'pg_catalog', 'information_schema', 'pg_toast', 'supabase_migrations'"
)

#: One line per right, in one order; the default where nothing was granted or revoked.
_RIGHTS: Final = """
    create or replace function pg_temp.rights(given aclitem[], otherwise aclitem[] default '{}')
    returns text language sql as $$
        select string_agg(item::text, E'\\n' order by item::text)
        from unnest(coalesce(given, otherwise)) as item
    $$"""

#: What each kind of object is called, and what is to be equal. `{ours}` leaves foreign schemas out.
QUERIES: Final[dict[str, LiteralString]] = {
    "schema": """
        select nspname, pg_temp.rights(nspacl, acldefault('n', nspowner))
        from pg_namespace where {ours}""",
    "relation": """
        select pg_class.oid::regclass::text, concat_ws(E'\n', relkind, relpersistence,
            relrowsecurity, relforcerowsecurity, relreplident, reloptions::text,
            pg_get_viewdef(pg_class.oid),
            pg_temp.rights(relacl, acldefault(
                case relkind when 'S' then 's' else 'r' end::"char", relowner)))
        from pg_class join pg_namespace on pg_namespace.oid = relnamespace
        where {ours} and relkind in ('r', 'p', 'v', 'm', 'S')""",
    "column": """
        select attrelid::regclass || '.' || attname, concat_ws(E'\n',
            format_type(atttypid, atttypmod), case when attnotnull then 'not null' end, attidentity,
            attgenerated, attstorage, attcollation::regcollation, pg_get_expr(adbin, adrelid),
            pg_temp.rights(attacl))
        from pg_attribute join pg_class on pg_class.oid = attrelid
        join pg_namespace on pg_namespace.oid = relnamespace
        left join pg_attrdef on adrelid = attrelid and adnum = attnum
        where {ours} and relkind in ('r', 'p', 'v', 'm') and attnum > 0 and not attisdropped""",
    "order of columns": """
        select attrelid::regclass::text, string_agg(attname, E'\n' order by attnum)
        from pg_attribute join pg_class on pg_class.oid = attrelid
        join pg_namespace on pg_namespace.oid = relnamespace
        where {ours} and relkind in ('r', 'p') and attnum > 0 and not attisdropped
        group by attrelid""",
    "constraint": """
        select concat_ws(' on ', conname, nullif(conrelid, 0)::regclass),
            concat_ws(E'\n', pg_get_constraintdef(pg_constraint.oid), convalidated)
        from pg_constraint join pg_namespace on pg_namespace.oid = connamespace where {ours}""",
    "index": """
        select indexrelid::regclass::text,
            concat_ws(E'\n', pg_get_indexdef(indexrelid), reloptions::text, indisvalid)
        from pg_index join pg_class on pg_class.oid = indexrelid
        join pg_namespace on pg_namespace.oid = relnamespace where {ours}""",
    "function": """
        select oid::regprocedure::text, concat_ws(E'\n', pg_get_functiondef(oid),
            pg_temp.rights(proacl, acldefault('f', proowner)))
        from (select pg_proc.* from pg_proc join pg_namespace on pg_namespace.oid = pronamespace
            where {ours} and prokind in ('f', 'p') offset 0) as pg_proc""",
    "trigger": """
        select tgname || ' on ' || tgrelid::regclass,
            concat_ws(E'\n', pg_get_triggerdef(pg_trigger.oid), tgenabled)
        from pg_trigger join pg_class on pg_class.oid = tgrelid
        join pg_namespace on pg_namespace.oid = relnamespace where {ours} and not tgisinternal""",
    "policy": """
        select format('%s on %I.%I', policyname, schemaname, tablename),
            concat_ws(E'\n', permissive, cmd, roles::text, 'using ' || qual, 'check ' || with_check)
        from pg_policies""",
    "type": """
        select pg_type.oid::regtype::text, concat_ws(E'\n', typtype, typnotnull, typdefault,
            (select string_agg(enumlabel, E'\n' order by enumsortorder) from pg_enum
                where enumtypid = pg_type.oid),
            pg_temp.rights(typacl, acldefault('T', typowner)))
        from pg_type join pg_namespace on pg_namespace.oid = typnamespace
        where {ours} and typtype in ('e', 'd', 'r')""",
    "sequence": """
        select seqrelid::regclass::text, concat_ws(E'\n', seqtypid::regtype, seqstart, seqincrement,
            seqmin, seqmax, seqcache, seqcycle, pg_sequence_last_value(seqrelid))
        from pg_sequence join pg_class on pg_class.oid = seqrelid
        join pg_namespace on pg_namespace.oid = relnamespace where {ours}""",
    "publication": """
        select pubname, concat_ws(E'\n', puballtables, pubinsert, pubupdate, pubdelete, pubtruncate,
            (select string_agg(concat_ws(' ', schemaname, tablename,
                    array(select unnest(attnames) order by 1)::text, rowfilter),
                E'\n' order by schemaname, tablename)
                from pg_publication_tables as tables where tables.pubname = publications.pubname))
        from pg_publication as publications""",
    "comment": """
        select object.type || ' ' || object.identity, description
        from pg_description, pg_identify_object(classoid, objoid, objsubid) as object
        where coalesce(object.schema, object.name) not in ({foreign})
            and object.identity !~ '^pg_temp'""",
    "default privileges": """
        select concat_ws(' ', defaclrole::regrole, nullif(defaclnamespace, 0)::regnamespace,
            defaclobjtype), pg_temp.rights(defaclacl) from pg_default_acl""",
    "extension": """
        select extname, concat_ws(' ', extversion, extnamespace::regnamespace)
        from pg_extension""",
}
#: Reported, but no difference.
ACCEPTED: Final = "order of columns"


def main(before: str, after: str) -> int:
    """Compare what *before* and *after* make; the exit status."""
    catalogues = []
    for name in (before, after):
        with tempfile.TemporaryDirectory(prefix="compare-") as folder:
            catalogues.append(catalogue_of(migrations_of(name, Path(folder)), Path(folder)))
    differences = 0
    for (kind, name), text in difference(*catalogues):
        accepted = kind == ACCEPTED
        differences += not accepted
        sys.stdout.write(f"{'accepted: ' if accepted else ''}{kind} {name}\n{text}\n")
    sys.stdout.write(
        f"{before}: {len(catalogues[0])} objects and rows, {after}: {len(catalogues[1])}; "
        f"{differences} differ.\n"
    )
    return 1 if differences else 0


def migrations_of(name: str, folder: Path) -> Path:
    """The folder *name*, or the migrations of the Git revision *name*, put below *folder*."""
    if Path(name).is_dir():
        return Path(name).resolve()
    archive = subprocess.run(  # noqa: S603 - the revision is what a person typed
        ["git", "archive", name, MIGRATIONS],  # noqa: S607 - Git is where the person has it
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
    )
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    return folder / MIGRATIONS


def catalogue_of(migrations: Path, folder: Path) -> Catalogue:
    """What *migrations* make of an empty devstack, which keeps its state below *folder*."""
    devstack = DevstackProcess(folder / "state", DEVSTACK_MIGRATIONS_DIR=str(migrations))
    try:
        with psycopg.connect(devstack.wait_ready().db_url) as connection:
            return read_catalogue(connection)
    finally:
        devstack.stop()


def read_catalogue(connection: psycopg.Connection[tuple[str, str]]) -> Catalogue:
    """All that Postgres knows of a database, and all rows of its tables."""
    connection.execute(_RIGHTS)
    # With an empty path, Postgres writes every name with its schema.
    connection.execute("set local search_path = ''")
    found: Catalogue = {}
    for kind, query in QUERIES.items():
        for name, text in connection.execute(_with_parts(query)):
            found[kind, str(name)] = str(text)
    for name, text in _rows(connection):
        found["row", f"{name} {text}"] = text
    return found


def difference(before: Catalogue, after: Catalogue) -> Iterator[tuple[tuple[str, str], str]]:
    """Each object that differs, with its lines as a diff."""
    for key in sorted({*before, *after}):
        old, new = before.get(key), after.get(key)
        if old == new:
            continue
        lines = difflib.ndiff((old or "").splitlines(), (new or "").splitlines())
        where = "only before" if new is None else "only after" if old is None else "changed"
        changed = [line for line in lines if line[0] in "+-"]
        yield key, "\n".join([f"  {where}", *(f"    {line}" for line in changed)])


def _with_parts(query: LiteralString) -> LiteralString:
    ours = f"nspname not in ({_FOREIGN}) and nspname !~ '^pg_(temp|toast_temp)'"
    return query.replace("{ours}", ours).replace("{foreign}", _FOREIGN)


def _rows(connection: psycopg.Connection[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    tables = connection.execute(
        "select schemaname, tablename from pg_tables where schemaname in ('public', 'segmentation')"
    ).fetchall()
    for schema, table in tables:
        rows = connection.execute(
            sql.SQL("select to_jsonb(each)::text from {} as each").format(
                sql.Identifier(schema, table)
            )
        )
        for row in rows:
            yield f"{schema}.{table}", row[0]


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main(*sys.argv[1:3]))
