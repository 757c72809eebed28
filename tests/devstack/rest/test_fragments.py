"""SQL that is written from what callers send."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devstack.rest import errors, fragments
from devstack.rest.query import Column, Field, Filter, Step


NAMES = st.text(min_size=1, max_size=40).filter(lambda name: "\0" not in name)


def without_quoted(sql: str) -> str:
    """*sql* with every quoted identifier replaced by a mark."""
    return re.sub(r'"(?:[^"]|"")*"', "ID", sql)


@given(NAMES, NAMES, st.text(max_size=40))
def test_names_stay_inside_quotes_and_values_outside_sql(name: str, key: str, value: str) -> None:
    """Whatever the names and values, the SQL around them is the same."""
    binder = fragments.Binder()
    renderer = fragments.Renderer(binder, "t", None)
    field = Field(name, (Step(key, True),))

    sql = renderer.condition(Filter(field=field, operator="eq", value=value))

    assert without_quoted(sql) == "(to_jsonb(ID.ID)->>$1::text) = $2"
    assert binder.values == [key, value]


def test_the_check_above_sees_a_name_that_ends_its_quotes() -> None:
    """Negative control: quoted without care, a name becomes SQL."""
    name = '"; drop table t; --'

    assert without_quoted(f'"{name}"') != "ID"
    assert without_quoted(fragments.quoted(name)) == "ID"


@given(NAMES, NAMES)
def test_aliases_and_casts_stay_inside_quotes(alias: str, cast: str) -> None:
    """An alias or a type's name cannot end the select item it stands in."""
    renderer = fragments.Renderer(fragments.Binder(), "t", None)

    sql = renderer.column(Column(field=Field("c"), alias=alias, cast=f"x{cast}"))

    assert without_quoted(sql) in {"cast(ID.ID as ID) as ID", "cast(ID.ID as ID[]) as ID"}


def test_types_that_sql_spells_with_words_are_not_quoted() -> None:
    """Quoted, `integer` would be looked up as a type of that name and not be found."""
    renderer = fragments.Renderer(fragments.Binder(), "t", None)

    assert "as integer)" in renderer.column(Column(field=Field("c"), cast="integer"))


@given(st.lists(st.text(max_size=20)))
def test_array_literals_quote_every_element(values: list[str]) -> None:
    """Read back by the rules of array input, the literal holds the same texts."""
    literal = fragments.array_literal(tuple(values))

    elements = re.findall(r'"((?:[^"\\]|\\.)*)"', literal, re.DOTALL)
    assert [re.sub(r"\\(.)", r"\1", one, flags=re.DOTALL) for one in elements] == values


def test_a_name_with_nul_is_refused() -> None:
    """PostgreSQL would cut the name off there."""
    with pytest.raises(errors.QueryParameterError):
        fragments.quoted("a\0b")
