"""Which foreign key a select item such as `projects!hint(name)` follows."""

import dataclasses
import difflib

from devstack.rest import catalogue, errors
from devstack.rest.query import Embed


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Relationship:
    """A foreign key, seen from the relation that embeds."""

    key: catalogue.ForeignKey
    #: The embedded relation.
    target: str
    #: True if there is at most one embedded row, shown as an object.
    to_one: bool
    #: Pairs (column of the embedding relation, column of the embedded one).
    columns: tuple[tuple[str, str], ...]

    @property
    def cardinality(self) -> str:
        """In PostgREST's words."""
        if self.key.one_to_one:
            return "one-to-one"
        return "many-to-one" if self.to_one else "one-to-many"


def find(known: catalogue.Catalogue, parent: str, embed: Embed) -> Relationship:
    """The relationship that *embed* means. Raises: NoRelationship-, AmbiguousRelationshipError."""
    candidates = [
        relationship
        for key in known.foreign_keys
        for relationship in _views(key, parent)
        if _targets(relationship, embed.target) and _hinted(relationship, embed.hint)
    ]
    if not candidates:
        raise _none_found(known, parent, embed)
    if len(candidates) > 1:
        raise _several_found(parent, embed, candidates)
    return candidates[0]


def _views(key: catalogue.ForeignKey, parent: str) -> list[Relationship]:
    pairs = tuple(zip(key.source_columns, key.target_columns, strict=True))
    views = []
    if key.source == parent:
        views.append(Relationship(key=key, target=key.target, to_one=True, columns=pairs))
    if key.target == parent:
        swapped = tuple((theirs, ours) for ours, theirs in pairs)
        views.append(
            Relationship(key=key, target=key.source, to_one=key.one_to_one, columns=swapped)
        )
    return views


def _targets(relationship: Relationship, target: str) -> bool:
    if target in {relationship.target, relationship.key.name}:
        return True
    # A foreign key column names what it points to: `select=owner:owner_id(name)`.
    forward = relationship.target == relationship.key.target and relationship.to_one
    return forward and relationship.key.source_columns == (target,)


def _hinted(relationship: Relationship, hint: str | None) -> bool:
    key = relationship.key
    columns = (*_only(key.source_columns), *_only(key.target_columns))
    return hint is None or hint == key.name or hint in columns


def _only(columns: tuple[str, ...]) -> tuple[str, ...]:
    return columns if len(columns) == 1 else ()


def _none_found(known: catalogue.Catalogue, parent: str, embed: Embed) -> errors.RestError:
    hinted = f" using the hint '{embed.hint}'" if embed.hint else ""
    neighbours = {r.target for key in known.foreign_keys for r in _views(key, parent)}
    close = difflib.get_close_matches(embed.target, neighbours - {embed.target}, n=1)
    hint = f"Perhaps you meant '{close[0]}' instead of '{embed.target}'." if close else None
    return errors.NoRelationshipError(
        f"Could not find a relationship between '{parent}' and '{embed.target}' in the schema "
        "cache",
        details=f"Searched for a foreign key relationship between '{parent}' and '{embed.target}'"
        f"{hinted} in the schema '{catalogue.SCHEMA}', but no matches were found. (The devstack "
        "follows foreign keys of tables; it does not embed through views, junction tables or "
        "computed relationships.)",
        hint=hint,
    )


def _several_found(
    parent: str, embed: Embed, candidates: list[Relationship]
) -> errors.AmbiguousRelationshipError:
    hints = ", ".join(f"'{embed.target}!{candidate.key.name}'" for candidate in candidates)
    return errors.AmbiguousRelationshipError(
        "Could not embed because more than one relationship was found for "
        f"'{parent}' and '{embed.target}'",
        details=[
            {
                "cardinality": candidate.cardinality,
                "embedding": f"{parent} with {candidate.target}",
                "relationship": f"{candidate.key.name} using "
                f"{candidate.key.source}({', '.join(candidate.key.source_columns)}) and "
                f"{candidate.key.target}({', '.join(candidate.key.target_columns)})",
            }
            for candidate in candidates
        ],
        hint=f"Try changing '{embed.target}' to one of the following: {hints}. Find the desired "
        "relationship in the 'details' key.",
    )
