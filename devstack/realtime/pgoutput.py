"""
Decode pgoutput, the logical replication format of PostgreSQL, protocol version 1.

The format is in the PostgreSQL manual, "Logical Replication Message Formats". Version 1 sends a
transaction only after its commit, so a decoded transaction is always a committed one.
"""

import dataclasses
import datetime as dt
import enum
import struct


#: PostgreSQL counts microseconds from here.
EPOCH = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)


class Action(enum.StrEnum):
    """What happened to a row, as the Realtime protocol spells it."""

    INSERT = "INSERT"
    UPDATE = "UPDATE"
    DELETE = "DELETE"


class Unchanged(enum.Enum):
    """Stands for a large value that the update did not touch and the log therefore lacks."""

    TOAST = enum.auto()


#: A column's value in PostgreSQL's text form.
Value = str | Unchanged | None
Row = dict[str, Value]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    name: str
    type_oid: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """
    A table as it stood when the change was logged.

    PostgreSQL sends it again after every change of the table, its grants or its policies, so a
    new object means that what was cached about the old one is void.
    """

    oid: int
    schema: str
    table: str
    columns: tuple[Column, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One row inserted, updated or deleted. `old` holds only the replica identity."""

    relation: Relation
    action: Action
    old: Row | None
    new: Row | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """The published changes of one commit, in the order they were made."""

    #: Transaction id, without its epoch.
    xid: int
    committed_at: dt.datetime
    changes: tuple[Change, ...]


ACTIONS = {b"I": Action.INSERT, b"U": Action.UPDATE, b"D": Action.DELETE}


class Decoder:
    """Turns messages into transactions; remembers the tables that the stream has described."""

    def __init__(self) -> None:
        self._relations: dict[int, Relation] = {}
        self._xid = 0
        self._committed_at = EPOCH
        self._changes: list[Change] = []

    def feed(self, message: bytes) -> Transaction | None:
        """Take one message; answer the transaction that it completes, if it does."""
        kind = message[:1]
        if kind in ACTIONS:
            self._changes.append(self._change(ACTIONS[kind], _Reader(message)))
        elif kind == b"R":
            relation = _relation(_Reader(message))
            self._relations[relation.oid] = relation
        elif kind == b"B":
            _, micros, self._xid = struct.unpack_from(">QQI", message, 1)
            self._committed_at = EPOCH + dt.timedelta(microseconds=micros)
            self._changes = []
        elif kind == b"C":
            return Transaction(
                xid=self._xid, committed_at=self._committed_at, changes=tuple(self._changes)
            )
        return None

    def _change(self, action: Action, reader: "_Reader") -> Change:
        relation = self._relations[reader.uint32()]
        old = new = None
        while not reader.at_end:
            which = reader.byte()
            row = reader.row(relation)
            if which == b"N":
                new = row
            else:
                old = _identity(row) if which == b"K" else row
        return Change(relation=relation, action=action, old=old, new=new)


def _identity(row: Row) -> Row:
    """A key tuple names every column but fills only the key; a key is never null."""
    return {name: value for name, value in row.items() if value is not None}


def _relation(reader: "_Reader") -> Relation:
    oid, schema, table = reader.uint32(), reader.string(), reader.string()
    reader.byte()  # replica identity; the primary key is asked of the catalog instead
    columns = []
    for _ in range(reader.uint16()):
        reader.byte()  # key flag, see above
        name, type_oid = reader.string(), reader.uint32()
        reader.uint32()  # type modifier
        columns.append(Column(name=name, type_oid=type_oid))
    return Relation(oid=oid, schema=schema or "pg_catalog", table=table, columns=tuple(columns))


class _Reader:
    """Reads a message from its second byte on."""

    def __init__(self, message: bytes) -> None:
        self._message = message
        self._at = 1

    @property
    def at_end(self) -> bool:
        return self._at >= len(self._message)

    def byte(self) -> bytes:
        return self.take(1)

    def uint16(self) -> int:
        return int.from_bytes(self.take(2))

    def uint32(self) -> int:
        return int.from_bytes(self.take(4))

    def string(self) -> str:
        end = self._message.index(0, self._at)
        text = self._message[self._at : end].decode()
        self._at = end + 1
        return text

    def take(self, count: int) -> bytes:
        part = self._message[self._at : self._at + count]
        self._at += count
        return part

    def row(self, relation: Relation) -> Row:
        count = self.uint16()
        return {column.name: self._value() for column in relation.columns[:count]}

    def _value(self) -> Value:
        kind = self.byte()
        if kind == b"n":
            return None
        if kind == b"u":
            return Unchanged.TOAST
        return self.take(self.uint32()).decode()
