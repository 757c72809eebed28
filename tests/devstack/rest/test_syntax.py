"""The grammar of query strings."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devstack.rest import errors, filter_syntax, query_string, select_syntax
from devstack.rest.query import (
    EVERYTHING,
    Column,
    Embed,
    Field,
    Filter,
    Logic,
    Nulls,
    OrderTerm,
    Step,
)


def column(name: str, *steps: Step, alias: str | None = None, cast: str | None = None) -> Column:
    """A selected column."""
    return Column(field=Field(name, steps), alias=alias, cast=cast)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("*", EVERYTHING),
        ("", ()),
        ("id, title", (column("id"), column("title"))),
        ("t:title::text", (column("title", alias="t", cast="text"),)),
        ("title::text", (column("title", cast="text"),)),
        ("tags::text[]", (column("tags", cast="text[]"),)),
        ('"a,b"', (column("a,b"),)),
        ('"say \\"hi\\""', (column('say "hi"'),)),
        ("with-dash", (column("with-dash"),)),
        ("meta->a->>b", (column("meta", Step("a", False), Step("b", True)),)),
        ("meta->0->>-1", (column("meta", Step(0, False), Step(-1, True)),)),
        ("n:meta->>k::int", (column("meta", Step("k", True), alias="n", cast="int"),)),
        (
            "o:owners!fk!inner(id)",
            (Embed(target="owners", items=(column("id"),), alias="o", hint="fk", inner=True),),
        ),
        ("owners()", (Embed(target="owners", items=()),)),
        ("...owners(id)", (Embed(target="owners", items=(column("id"),), spread=True),)),
    ],
)
def test_select_items(text: str, expected: object) -> None:
    """Each form of a select item has one reading."""
    assert select_syntax.parse_select(text) == expected


@pytest.mark.parametrize(
    "text",
    ["id,", ",", "id(", "id)", "a::", "a->", "a!", "*x", "a b!c", "a;drop", "a=b", "'", "(id)"],
)
def test_broken_select_is_refused(text: str) -> None:
    """What the grammar does not know is an error, never a guess."""
    with pytest.raises(errors.QueryParameterError):
        select_syntax.parse_select(text)


@pytest.mark.parametrize("text", ["price.sum()", "count()", "title,price.avg()", "owners(count())"])
def test_aggregates_are_refused_by_name(text: str) -> None:
    """Aggregates are off, as they are by default in PostgREST."""
    with pytest.raises(errors.AggregatesNotAllowedError):
        select_syntax.parse_select(text)


def test_order_terms() -> None:
    """Direction and place of nulls are optional, in this order."""
    assert select_syntax.parse_order("a.desc.nullslast,m->>k.asc,c.nullsfirst,d") == (
        OrderTerm(field=Field("a"), descending=True, nulls=Nulls.LAST),
        OrderTerm(field=Field("m", (Step("k", True),))),
        OrderTerm(field=Field("c"), nulls=Nulls.FIRST),
        OrderTerm(field=Field("d")),
    )


@pytest.mark.parametrize("text", ["a.descending", "a.asc.desc", "a,", "a.asc;", "a desc)"])
def test_broken_order_is_refused(text: str) -> None:
    """A misspelt direction does not become another order."""
    with pytest.raises(errors.QueryParameterError):
        select_syntax.parse_order(text)


@pytest.mark.parametrize(
    ("value", "operator", "expected"),
    [
        ("eq.1", "eq", "1"),
        ("eq.", "eq", ""),
        ("eq.a.b,(c)", "eq", "a.b,(c)"),
        ("in.(1,2)", "in", ("1", "2")),
        ("in.()", "in", ()),
        ('in.("a,b","c""d",e)', "in", ("a,b", '"c""d"', "e")),
        ('in.("a\\"b\\\\")', "in", ('a"b\\',)),
        ("is.NULL", "is", "null"),
        ("cs.{a,b}", "cs", "{a,b}"),
    ],
)
def test_filter_values(value: str, operator: str, expected: object) -> None:
    """A value is everything after the operator; only lists are taken apart."""
    path, found = filter_syntax.parse_filter("c", value)

    assert (path, found) == ((), Filter(field=Field("c"), operator=operator, value=expected))


def test_negation_modifier_and_embedded_path() -> None:
    """`not.`, `op(any)` and the dotted path of an embedded relation are read together."""
    path, found = filter_syntax.parse_filter("owners.data->>k", "not.like(any).{a*,b*}")

    assert path == ("owners",)
    assert found == Filter(
        field=Field("data", (Step("k", True),)),
        operator="like",
        value="{a*,b*}",
        negated=True,
        modifier="any",
    )


@pytest.mark.parametrize(
    "value", ["1", "equals.1", "eq", "is.maybe", "in.1,2", "in.(1", "in.(1)x", "cs(any).{a}", "."]
)
def test_broken_filters_are_refused(value: str) -> None:
    """A filter that is not understood never becomes no filter."""
    with pytest.raises(errors.QueryParameterError):
        filter_syntax.parse_filter("c", value)


def test_logic_trees_nest() -> None:
    """Trees nest, and quotes and braces protect commas inside values."""
    path, tree = filter_syntax.parse_logic(
        "not.or", '(a.eq.1,not.and(b.in.(x,"y,z"),c.not.is.null),t.cs.{p,q},"d.e".eq."f)")'
    )

    inner = Logic(
        operator="and",
        negated=True,
        terms=(
            Filter(field=Field("b"), operator="in", value=("x", "y,z")),
            Filter(field=Field("c"), operator="is", value="null", negated=True),
        ),
    )
    assert path == ()
    assert tree == Logic(
        operator="or",
        negated=True,
        terms=(
            Filter(field=Field("a"), operator="eq", value="1"),
            inner,
            Filter(field=Field("t"), operator="cs", value="{p,q}"),
            Filter(field=Field("d.e"), operator="eq", value="f)"),
        ),
    )


def test_endless_nesting_is_refused() -> None:
    """Depth is bounded, so that no request exhausts the stack."""
    with pytest.raises(errors.QueryParameterError):
        query_string.parse("and=" + "(and" * 5000)
    with pytest.raises(errors.QueryParameterError):
        query_string.parse("select=" + "a(" * 5000)


def test_a_call_by_get_tells_arguments_from_filters() -> None:
    """What has no operator is an argument; the rest filters the result."""
    query = query_string.parse("a=1&name=x.y&n=gt.2&order=n&limit=3", is_call=True)

    assert query.arguments == (("a", "1"), ("name", "x.y"))
    assert query.root.conditions == [Filter(field=Field("n"), operator="gt", value="2")]
    assert (query.root.limit, len(query.root.order)) == (3, 1)


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text_parses_or_is_refused(key: str, value: str) -> None:
    """No query string makes the parser fail in another way than its own errors."""
    for text in (f"{key}={value}", f"select={value}", f"order={value}", f"or={value}"):
        with contextlib.suppress(errors.RestError):
            query_string.parse(text)
