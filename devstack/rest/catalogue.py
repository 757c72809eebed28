"""What schema `public` holds: relations, foreign keys, functions; one frozen snapshot."""

import dataclasses
import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


SCHEMA = "public"

JSON_TYPES = frozenset({"json", "jsonb"})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ColumnInfo:
    name: str
    #: SQL name of its type without length, fully qualified and quoted by PostgreSQL.
    type: str
    #: Plain name of the type under any domain, such as `jsonb` or `tsvector`.
    base_type: str
    #: SQL of its default, or None.
    default: str | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """A table, view, materialised view, foreign or partitioned table."""

    name: str
    columns: Mapping[str, ColumnInfo]
    primary_key: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ForeignKey:
    name: str
    source: str
    source_columns: tuple[str, ...]
    target: str
    target_columns: tuple[str, ...]
    #: True if at most one source row can point to a target row.
    one_to_one: bool


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """An input parameter of a function; an unnamed one has the name ''."""

    name: str
    type: str
    required: bool
    variadic: bool


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    name: str
    parameters: tuple[Parameter, ...]
    #: Stable and immutable functions run in a read-only transaction.
    volatile: bool
    returns_set: bool
    #: True for rows: a table's row type, `returns table (…)`, or out parameters.
    returns_row: bool
    returns_void: bool
    #: The relation whose rows it returns, or None.
    relation: str | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    relations: Mapping[str, Relation]
    foreign_keys: tuple[ForeignKey, ...]
    functions: Mapping[str, tuple[Function, ...]]
    #: Roles that a token may name, each with its settings (`alter role … set …`).
    roles: Mapping[str, Mapping[str, str]]


def closest(name: str, names: Iterable[str]) -> str | None:
    """The one of *names* most like *name*, for a hint; None if none is like it."""
    return next(iter(difflib.get_close_matches(name, names, n=1, cutoff=0.75)), None)


#: One row, one JSON document. Types and defaults are rendered with an empty search_path, so they
#: mean the same whatever path a request has.
LOAD = b"""
select json_build_object(
    'relations', (
        select coalesce(json_agg(json_build_object(
            'name', c.relname,
            'columns', (
                select coalesce(json_agg(json_build_object(
                    'name', a.attname,
                    'type', format_type(a.atttypid, -1),
                    'base_type', coalesce(base.typname, t.typname),
                    'default', case
                        when a.attgenerated <> '' then null
                        when a.attidentity <> ''
                            then format('nextval(%L)', pg_get_serial_sequence(
                                format('%I.%I', n.nspname, c.relname), a.attname))
                        else pg_get_expr(d.adbin, d.adrelid)
                    end
                ) order by a.attnum), '[]')
                from pg_attribute a
                join pg_type t on t.oid = a.atttypid
                left join pg_type base on base.oid = t.typbasetype
                left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
                where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
            ),
            'primary_key', (
                select coalesce(json_agg(a.attname order by k.position), '[]')
                from pg_constraint p
                cross join unnest(p.conkey) with ordinality as k (attnum, position)
                join pg_attribute a on a.attrelid = p.conrelid and a.attnum = k.attnum
                where p.conrelid = c.oid and p.contype = 'p'
            )
        )), '[]')
        from pg_class c
        join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = 'public' and c.relkind in ('r', 'v', 'm', 'f', 'p')
    ),
    'foreign_keys', (
        select coalesce(json_agg(json_build_object(
            'name', f.conname,
            'source', source.relname,
            'source_columns', (
                select json_agg(a.attname order by k.position)
                from unnest(f.conkey) with ordinality as k (attnum, position)
                join pg_attribute a on a.attrelid = f.conrelid and a.attnum = k.attnum
            ),
            'target', target.relname,
            'target_columns', (
                select json_agg(a.attname order by k.position)
                from unnest(f.confkey) with ordinality as k (attnum, position)
                join pg_attribute a on a.attrelid = f.confrelid and a.attnum = k.attnum
            ),
            'one_to_one', exists (
                select from pg_constraint u
                where u.conrelid = f.conrelid and u.contype in ('p', 'u')
                and u.conkey <@ f.conkey
            )
        ) order by f.conname), '[]')
        from pg_constraint f
        join pg_class source on source.oid = f.conrelid
        join pg_class target on target.oid = f.confrelid
        where f.contype = 'f' and f.conparentid = 0
        and source.relnamespace = 'public'::regnamespace
        and target.relnamespace = 'public'::regnamespace
    ),
    'functions', (
        select coalesce(json_agg(json_build_object(
            'name', p.proname,
            'parameters', (
                select coalesce(json_agg(json_build_object(
                    'name', coalesce(i.name, ''),
                    'type', format_type(i.type, -1),
                    'required', i.input_position <= p.pronargs - p.pronargdefaults,
                    'variadic', i.mode = 'v'
                ) order by i.input_position), '[]')
                from (
                    select
                        u.type, u.mode, p.proargnames[u.position] as name,
                        row_number() over (order by u.position) as input_position
                    from unnest(
                        coalesce(p.proallargtypes, p.proargtypes::oid[]),
                        coalesce(
                            p.proargmodes::text[],
                            array_fill('i'::text, array[p.pronargs::int])
                        )
                    ) with ordinality as u (type, mode, position)
                    where u.mode in ('i', 'b', 'v')
                ) as i
            ),
            'volatile', p.provolatile = 'v',
            'returns_set', p.proretset,
            'returns_row', coalesce(base.typtype, t.typtype) = 'c'
                or coalesce(p.proargmodes::text[] && '{t,b,o}', false),
            'returns_void', p.prorettype = 'void'::regtype,
            'relation', (
                select r.relname from pg_class r
                where r.oid = coalesce(base.typrelid, t.typrelid)
                and r.relkind <> 'c' and r.relnamespace = p.pronamespace
            )
        )), '[]')
        from pg_proc p
        join pg_type t on t.oid = p.prorettype
        left join pg_type base on base.oid = t.typbasetype
        where p.pronamespace = 'public'::regnamespace and p.prokind = 'f'
        and p.prorettype not in ('trigger'::regtype, 'event_trigger'::regtype)
    ),
    'roles', (
        select coalesce(json_agg(json_build_object(
            'name', r.rolname, 'settings', coalesce(r.rolconfig, '{}')
        )), '[]')
        from pg_roles r
        left join pg_roles login on login.rolname = 'authenticator'
        where case
            when login.oid is null then r.rolname in ('anon', 'authenticated', 'service_role')
            else r.oid <> login.oid and pg_has_role(login.oid, r.oid, 'set')
        end
    )
)
"""


def from_json(document: Mapping[str, Any]) -> Catalogue:
    """The catalogue that the query `LOAD` found."""
    relations = [_relation(relation) for relation in document["relations"]]
    functions: dict[str, tuple[Function, ...]] = {}
    for entry in document["functions"]:
        parameters = tuple(Parameter(**parameter) for parameter in entry["parameters"])
        function = Function(**{**entry, "parameters": parameters})
        functions[function.name] = (*functions.get(function.name, ()), function)
    return Catalogue(
        relations={relation.name: relation for relation in relations},
        foreign_keys=tuple(_foreign_key(entry) for entry in document["foreign_keys"]),
        functions=functions,
        roles={entry["name"]: _settings(entry["settings"]) for entry in document["roles"]},
    )


def _relation(entry: Mapping[str, Any]) -> Relation:
    columns = [ColumnInfo(**column) for column in entry["columns"]]
    return Relation(
        name=entry["name"],
        columns={column.name: column for column in columns},
        primary_key=tuple(entry["primary_key"]),
    )


def _foreign_key(entry: Mapping[str, Any]) -> ForeignKey:
    columns = {key: tuple(entry[key]) for key in ("source_columns", "target_columns")}
    return ForeignKey(**{**entry, **columns})


def _settings(entries: Sequence[str]) -> Mapping[str, str]:
    return dict(entry.split("=", 1) for entry in entries)
