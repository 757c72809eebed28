"""Write the select of a request, the embedded relations included."""

import dataclasses

from devstack.rest import catalogue, errors, relationships
from devstack.rest.fragments import Binder, Renderer, qualified, quoted
from devstack.rest.query import Column, Embed, Level, Path, SelectItem
from devstack.rest.ranges import Window


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    #: What stands after `from`.
    sql: str
    alias: str
    #: None when a function returns rows of no relation.
    relation: catalogue.Relation | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """A select, in parts: all rows of it can be counted, or a window of it read."""

    outputs: str
    source: str
    joins: str
    inner_joins: str
    where: str
    order: str

    def rows(self, window: str = "") -> str:
        tail = f"{self.joins}{self.where}{self.order}{window}"
        return f"select {self.outputs} from {self.source}{tail}"

    def total(self) -> str:
        return f"(select count(*) from {self.source}{self.inner_joins}{self.where})"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Joined:
    """One embedded relation, as a join and (unless nothing of it is selected) an output."""

    join: str
    inner: bool
    output: str | None


class Reader:
    """Writes the levels of one request; values go to *binder*."""

    def __init__(
        self, known: catalogue.Catalogue, binder: Binder, levels: dict[Path, Level]
    ) -> None:
        self._known = known
        self._binder = binder
        self._levels = levels
        self._read: set[Path] = {()}
        self._aliases = 0

    def select(
        self, source: Source, items: tuple[SelectItem, ...], *, filtered: bool = True
    ) -> Selection:
        """
        The select of the whole request.

        Rows of a write are not *filtered* again. Raises: NotEmbeddedError, SchemaError.
        """
        selection = self._level(source, items, (), [], filtered=filtered)
        for path in self._levels.keys() - self._read:
            raise errors.NotEmbeddedError(
                f"'{path[-1]}' is not an embedded resource in this request",
                hint=f"Verify that '{path[-1]}' is included in the 'select' query parameter.",
            )
        return selection

    def window(self, window: Window) -> str:
        return Renderer(self._binder, "", None).window(window.limit, window.offset)

    def _level(
        self,
        source: Source,
        items: tuple[SelectItem, ...],
        path: Path,
        join_conditions: list[str],
        *,
        filtered: bool = True,
    ) -> Selection:
        renderer = Renderer(self._binder, source.alias, source.relation)
        level = self._levels.get(path, Level())
        outputs: list[str] = []
        joined: list[_Joined] = []
        for item in items:
            if isinstance(item, Column):
                outputs.append(renderer.column(item))
            else:
                joined.append(self._embed(source, item, path))
                outputs.extend(filter(None, [joined[-1].output]))
        # What is not written must not be bound either: PostgreSQL would ask for its type.
        filters = level.conditions if filtered else []
        return Selection(
            outputs=", ".join(outputs),
            source=f"{source.sql} as {renderer.alias}",
            joins="".join(one.join for one in joined),
            inner_joins="".join(one.join for one in joined if one.inner),
            where=renderer.where(
                [*join_conditions, *(renderer.condition(condition) for condition in filters)]
            ),
            order=renderer.order(level.order),
        )

    def _embed(self, parent: Source, embed: Embed, path: Path) -> _Joined:
        if parent.relation is None:
            raise errors.NoRelationshipError(
                details=f"'{embed.target}' cannot be embedded: the function does not return rows "
                "of a table"
            )
        relationship = relationships.find(self._known, parent.relation.name, embed)
        if embed.spread and not relationship.to_one:
            raise errors.NotSupportedError(
                details=f"Spreading a {relationship.cardinality} relationship: ...{embed.target}"
            )
        rows = self._embedded_rows(parent, embed, relationship, (*path, embed.name))
        return self._join(embed, relationship, rows)

    def _embedded_rows(
        self, parent: Source, embed: Embed, relationship: relationships.Relationship, path: Path
    ) -> str:
        self._read.add(path)
        source = Source(
            sql=qualified(relationship.target),
            alias=self._new_alias(),
            relation=self._known.relations[relationship.target],
        )
        conditions = [
            f"{quoted(source.alias)}.{quoted(theirs)} = {quoted(parent.alias)}.{quoted(ours)}"
            for ours, theirs in relationship.columns
        ]
        level = self._levels.get(path, Level())
        selection = self._level(source, embed.items, path, conditions)
        return selection.rows(self.window(Window(limit=level.limit, offset=level.offset)))

    def _join(self, embed: Embed, relationship: relationships.Relationship, rows: str) -> _Joined:
        alias = quoted(self._new_alias())
        name = quoted(embed.name)
        how = "inner" if embed.inner else "left"
        if relationship.to_one:
            join = f" {how} join lateral ({rows}) as {alias} on true"
            output = f"{alias}.*" if embed.spread else f"row_to_json({alias}.*) as {name}"
        else:
            condition = f"{alias}.found is not null" if embed.inner else "true"
            one = quoted(self._new_alias())
            join = (
                f" {how} join lateral (select json_agg({one}) as found from ({rows}) as {one})"
                f" as {alias} on {condition}"
            )
            output = f"coalesce({alias}.found, '[]') as {name}"
        return _Joined(join=join, inner=embed.inner, output=output if embed.items else None)

    def _new_alias(self) -> str:
        self._aliases += 1
        return f"pgrst_embed_{self._aliases}"


def needed_columns(
    known: catalogue.Catalogue,
    relation: catalogue.Relation,
    items: tuple[SelectItem, ...],
    level: Level,
) -> list[str]:
    """
    Columns a write must return so that *items* can be selected from its rows; `*` for all.

    Others are left out because the caller may lack the right to read them.
    """
    names = [term.field.name for term in level.order]
    for item in items:
        if isinstance(item, Column):
            names.append(item.field.name)
        else:
            columns = relationships.find(known, relation.name, item).columns
            names.extend(ours for ours, _ in columns)
    return ["*"] if "*" in names else list(dict.fromkeys(names))
