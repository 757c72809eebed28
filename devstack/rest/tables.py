"""Plan requests on a table or view: read, insert, update, delete."""

import dataclasses
from collections.abc import Callable, Iterable

from devstack.rest import catalogue, errors, plan
from devstack.rest.fragments import Binder, Renderer, qualified, quoted
from devstack.rest.headers import Preferences, Resolution, Shape
from devstack.rest.query import Query
from devstack.rest.ranges import Window
from devstack.rest.reading import Reader, Source, needed_columns
from devstack.rest.wire import Rows


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The relation asked about, and how to answer."""

    known: catalogue.Catalogue
    relation: catalogue.Relation
    query: Query
    preferences: Preferences
    shape: Shape

    @property
    def table(self) -> str:
        """The relation, known by its own name in the statement."""
        return f"{qualified(self.relation.name)} as {quoted(self.relation.name)}"

    def source(self, sql: str) -> Source:
        return Source(sql=sql, alias=self.relation.name, relation=self.relation)


def relation_of(known: catalogue.Catalogue, name: str) -> catalogue.Relation:
    """The relation called *name*. Raises: NoTableError."""
    relation = known.relations.get(name)
    if relation is None:
        full = f"{catalogue.SCHEMA}.{name}"
        close = catalogue.closest(name, known.relations)
        raise errors.NoTableError(
            f"Could not find the table '{full}' in the schema cache",
            hint=f"Perhaps you meant the table '{catalogue.SCHEMA}.{close}'" if close else None,
        )
    return relation


def read(target: Target, window: Window) -> plan.Plan:
    binder = Binder()
    reader = Reader(target.known, binder, target.query.levels)
    source = target.source(qualified(target.relation.name))
    selection = reader.select(source, target.query.select)
    return plan.Plan(
        sql=plan.outcome(
            source=selection.rows(reader.window(window)),
            rows=f"select * from {plan.SOURCE}",
            body=plan.body_of_rows(target.shape, single=target.shape.single),
            total=selection.total() if target.preferences.count else plan.NOT_COUNTED,
        ),
        values=binder.values,
        read_only=True,
        exactly_one=target.shape.single,
    )


def insert(target: Target, rows: Rows) -> plan.Plan:
    """Plan a POST. Raises: NoColumnError."""
    binder = Binder()
    columns = _columns(target, target.query.columns or rows.keys)
    listed = ", ".join(quoted(column.name) for column in columns)
    payload = binder.bind(rows.text)
    if columns:
        new_rows = f"({listed}) select {listed} from {_recordset(target, binder, columns, payload)}"
    else:
        new_rows = f"select from json_array_elements({payload}::json)"
    statement = f"insert into {target.table} {new_rows}{_on_conflict(target, columns)}"
    return _write(target, binder, lambda returned: f"{statement} returning {returned}")


def update(target: Target, rows: Rows) -> plan.Plan:
    """Plan a PATCH. An empty object changes nothing. Raises: NoColumnError."""
    binder = Binder()
    columns = _columns(target, target.query.columns or rows.keys)
    if not columns:
        return _write(
            target, binder, lambda returned: f"select {returned} from {target.table} where false"
        )
    listed = ", ".join(quoted(column.name) for column in columns)
    assigned = ", ".join(f"{quoted(c.name)} = pgrst_body.{quoted(c.name)}" for c in columns)
    recordset = _recordset(target, binder, columns, binder.bind(rows.text))
    statement = (
        f"update {target.table} set {assigned} "
        f"from (select {listed} from {recordset} limit 1) as pgrst_body{_where(target, binder)}"
    )
    return _write(target, binder, lambda returned: f"{statement} returning {returned}")


def delete(target: Target) -> plan.Plan:
    binder = Binder()
    statement = f"delete from {target.table}{_where(target, binder)}"
    return _write(target, binder, lambda returned: f"{statement} returning {returned}")


def _write(target: Target, binder: Binder, statement: Callable[[str], str]) -> plan.Plan:
    preferences, shape, relation = target.preferences, target.shape, target.relation
    columns: list[str] = []
    rows, body = f"select from {plan.SOURCE}", plan.NO_BODY
    if preferences.wants_rows:
        items = target.query.select
        columns = needed_columns(target.known, relation, items, target.query.root)
        reader = Reader(target.known, binder, target.query.levels)
        rows = reader.select(target.source(plan.SOURCE), items, filtered=False).rows()
        body = plan.body_of_rows(shape, single=shape.single)
    return plan.Plan(
        sql=plan.outcome(
            source=statement(_returned(target, columns)),
            rows=rows,
            body=body,
        ),
        values=binder.values,
        read_only=False,
        exactly_one=preferences.wants_rows and shape.single,
        max_affected=preferences.max_affected,
    )


def _returned(target: Target, names: list[str]) -> str:
    alias = quoted(target.relation.name)
    rendered = [f"{alias}.*" if name == "*" else f"{alias}.{quoted(name)}" for name in names]
    return ", ".join(rendered) or "1"


def _columns(target: Target, names: Iterable[str]) -> list[catalogue.ColumnInfo]:
    relation = target.relation
    for name in names:
        if name not in relation.columns:
            raise errors.NoColumnError(
                f"Could not find the '{name}' column of '{relation.name}' in the schema cache"
            )
    return [relation.columns[name] for name in names]


def _recordset(
    target: Target, binder: Binder, columns: list[catalogue.ColumnInfo], payload: str
) -> str:
    typed = ", ".join(f"{quoted(column.name)} {column.type}" for column in columns)
    if not target.preferences.missing_is_default:
        return f"json_to_recordset({payload}::json) as _({typed})"
    defaults = ", ".join(
        f"{binder.bind(column.name)}::text, {column.default}"
        for column in columns
        if column.default is not None
    )
    return (
        f"jsonb_to_recordset((select jsonb_agg(jsonb_build_object({defaults}) || element) "
        f"from jsonb_array_elements({payload}::jsonb) as element)) as _({typed})"
    )


def _on_conflict(target: Target, columns: list[catalogue.ColumnInfo]) -> str:
    unique = target.query.on_conflict or target.relation.primary_key
    resolution = target.preferences.resolution
    if resolution is None or not unique:
        return ""
    conflict = f" on conflict ({', '.join(quoted(name) for name in unique)})"
    if resolution is Resolution.IGNORE or not columns:
        return f"{conflict} do nothing"
    assigned = ", ".join(f"{quoted(c.name)} = excluded.{quoted(c.name)}" for c in columns)
    return f"{conflict} do update set {assigned} where {_COUNT_UPDATED}"


#: Always true; counts the rows that are updated, for the status (200 if none was inserted).
_COUNT_UPDATED = (
    f"set_config('{plan.UPDATED_SETTING}', (coalesce(nullif(current_setting("
    f"'{plan.UPDATED_SETTING}', true), '')::int, 0) + 1)::text, true) is not null"
)


def _where(target: Target, binder: Binder) -> str:
    renderer = Renderer(binder, target.relation.name, target.relation)
    return renderer.where([renderer.condition(c) for c in target.query.root.conditions])
