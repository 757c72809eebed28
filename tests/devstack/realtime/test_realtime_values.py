"""The pure parts: frames, filters' grammar, and values of the log as JSON."""

import json
from typing import Any

import psycopg
import pytest

from devstack.realtime import filters, phoenix, rendering


VALUES = [
    "7::int2",
    "-7::int4",
    "9007199254740993::int8",
    "1.5::float8",
    "'NaN'::float8",
    "'-Infinity'::float4",
    "1e15::float8",
    "12345678901234567890.10::numeric",
    "'NaN'::numeric",
    "true",
    "false",
    "null::int4",
    "'a \"quoted\" \\ é'::text",
    "'x'::char(3)",
    "'{\"a\": [1, null]}'::jsonb",
    "'[1,  2]'::json",
    "'null'::jsonb",
    "'2026-11-23'::date",
    "'2026-11-23 08:00:00.123456'::timestamp",
    "'2026-11-23 08:00:00.5+02'::timestamptz",
    "'infinity'::timestamptz",
    "'08:00'::time",
    "'1 day 02:03:04'::interval",
    "'\\xdeadbeef'::bytea",
    "'6b7f3f57-98b4-4c39-8dd6-2a8f83a0a9d1'::uuid",
    "array[1,null,3]",
    "'{}'::int4[]",
    "array['a,b', 'c\"d', 'null', 'e\\f', '', '{g}']",
    "array[[1,2],[3,4]]",
    "array[true,false]",
    "array['{\"a\":1}'::jsonb]",
    "'[2:3]={5,6}'::int4[]",
    "array[1.5::numeric]",
    "'[1,5)'::int4range",
    "array['2026-11-23 08:00:00+00'::timestamptz]",
]


@pytest.mark.parametrize("expression", VALUES)
async def test_values_render_as_postgresql_renders_them(
    db: psycopg.AsyncConnection[Any], expression: str
) -> None:
    """`to_jsonb` is the reference for what clients get."""
    query = f"""
        set timezone = 'UTC';
        set intervalstyle = 'postgres';
        select
            case when value is not null then format('%s', value) end,
            typname,
            to_jsonb(value)::text
        from (select {expression}) as one (value)
        join pg_type on pg_type.oid = pg_typeof(value)
    """
    cursor = await db.execute(query.encode())
    while cursor.nextset():
        pass
    ((text, type_name, expected),) = await cursor.fetchall()

    assert json.loads(rendering.value(text, type_name)) == json.loads(expected or "null")


@pytest.mark.parametrize("version", list(phoenix.Version))
def test_a_frame_survives_its_encoding(version: phoenix.Version) -> None:
    """What version writes, it reads."""
    sent = phoenix.Sent(topic="realtime:é", event="e", payload='{"a":[1]}', ref="2", join_ref="1")

    received = phoenix.decode_text(sent.encode(version))

    assert received == phoenix.Received(
        topic="realtime:é", event="e", payload={"a": [1]}, ref="2", join_ref="1"
    )


@pytest.mark.parametrize("text", ["", "{}", "[]", "[1,2,3]", "7", '["1","2","t","e",[]]'])
def test_what_is_no_frame_is_refused(text: str) -> None:
    """Never a stray exception."""
    with pytest.raises(phoenix.FrameError):
        phoenix.decode_text(text)


@pytest.mark.parametrize("frame", [b"", b"\x03", b"\x09" + bytes(9), bytes([3, 0, 0, 0, 0, 0, 1])])
def test_what_is_no_binary_frame_is_refused(frame: bytes) -> None:
    """Short, of another kind, or without its JSON."""
    with pytest.raises(phoenix.FrameError):
        phoenix.decode_binary(frame)


@pytest.mark.parametrize(
    "text", ["a", "a=eq", "a=eq.1,", "a=near.1", "a=in.1", "a=is.maybe", "undefined", "=eq.1"]
)
def test_what_is_no_filter_is_refused(text: str) -> None:
    """With an error that says so."""
    with pytest.raises(filters.FilterError):
        filters.parse(text)


def test_a_filter_may_hold_commas_in_quotes_and_parentheses() -> None:
    """Only commas between conditions separate."""
    parsed = filters.parse('a=in.(x,"y,z"),b=eq."p,q",c=not.is.null')

    assert [(one.column, one.operand, one.negated) for one in parsed] == [
        ("a", '{x,"y,z"}', False),
        ("b", "p,q", False),
        ("c", "null", True),
    ]


def test_an_in_filter_has_at_most_a_hundred_values() -> None:
    """As hosted."""
    filters.parse(f"a=in.({','.join('1' * 100)})")
    with pytest.raises(filters.FilterError):
        filters.parse(f"a=in.({','.join('1' * 101)})")
