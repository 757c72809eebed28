"""
Render values of the replication stream as JSON, by their type.

The stream carries PostgreSQL's text form. What Realtime's clients expect is what `to_jsonb` would
give, so numbers, booleans, JSON and arrays are native and times are ISO 8601. Types without a rule
here (uuid, enums, ranges, composites, bytea) stay text.
"""

import json
import re
from collections.abc import Callable, Iterator

from devstack.realtime import pgoutput


Render = Callable[[str], str]


def value(text: pgoutput.Value, type_name: str) -> str:
    """JSON text of a value; *type_name* is `pg_type.typname`, with its `_` for arrays."""
    if not isinstance(text, str):
        return "null"
    if type_name.startswith("_"):
        return _array(text, type_name[1:])
    return SCALARS.get(type_name, _string)(text)


def _number(text: str) -> str:
    # to_jsonb also writes 'NaN' and 'Infinity' as strings, since JSON has no such numbers.
    return text if text[-1].isdigit() else json.dumps(text)


def _boolean(text: str) -> str:
    return "true" if text == "t" else "false"


def _string(text: str) -> str:
    return json.dumps(text)


def _as_is(text: str) -> str:
    return text


def _timestamp(text: str) -> str:
    # The stream's time zone is UTC, so a zone, if any, is +00.
    iso = text.replace(" ", "T", 1)
    return json.dumps(f"{iso}:00" if iso.endswith("+00") else iso)


SCALARS: dict[str, Render] = {
    **dict.fromkeys(("int2", "int4", "int8", "oid", "float4", "float8", "numeric"), _number),
    **dict.fromkeys(("json", "jsonb"), _as_is),
    **dict.fromkeys(("timestamp", "timestamptz"), _timestamp),
    "bool": _boolean,
}

#: One token of an array literal: a brace, a comma, a quoted element or a bare one.
TOKEN = re.compile(r'[{},]|"(?:[^"\\]|\\.)*"|[^{},"]+', re.DOTALL)


def _array(text: str, element_type: str) -> str:
    """An array literal such as `{1,NULL,"a b"}` or `[0:1]={{1},{2}}` as nested JSON arrays."""
    body = text[text.index("{") :]
    return "".join(_array_tokens(body, SCALARS.get(element_type, _string)))


def _array_tokens(body: str, render: Render) -> Iterator[str]:
    brackets = {"{": "[", "}": "]", ",": ","}
    for match in TOKEN.finditer(body):
        token = match.group()
        if token in brackets:
            yield brackets[token]
        elif token.startswith('"'):
            yield render(re.sub(r"\\(.)", r"\1", token[1:-1], flags=re.DOTALL))
        else:
            yield "null" if token.upper() == "NULL" else render(token)
