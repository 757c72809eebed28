"""Cutting SQL into statements, compared by hand with what the official CLI 3.1.0 recorded."""

import pytest

from devstack import sql


ATOMIC = (
    "create function f() returns int begin atomic select case when true then 1 end; select 2; end"
)


@pytest.mark.parametrize(
    ("text", "statements"),
    [
        ("select 1; select 2", ["select 1", "select 2"]),
        (" ;; \n;", []),
        ("select ';' as \"a;b\";select 2", ["select ';' as \"a;b\"", "select 2"]),
        ("select E'it\\'s;'; select 2", ["select E'it\\'s;'", "select 2"]),
        ("select 'it''s;'; select 2", ["select 'it''s;'", "select 2"]),
        ("-- a; b\nselect 1; -- c;", ["-- a; b\nselect 1", "-- c;"]),
        ("/* a; /* b; */ c; */ select 1;", ["/* a; /* b; */ c; */ select 1"]),
        ("do $$ begin perform 1; end $$; select 2", ["do $$ begin perform 1; end $$", "select 2"]),
        ("do $a$ $$;$$ $b$;$b$ $a$; select 2", ["do $a$ $$;$$ $b$;$b$ $a$", "select 2"]),
        ("select $1; select a$b$c; select 2", ["select $1", "select a$b$c", "select 2"]),
        ("begin; select 1; end;", ["begin", "select 1", "end"]),
        (f"{ATOMIC}; select 3", [ATOMIC, "select 3"]),
        ("select 'never ended; select 2", ["select 'never ended; select 2"]),
    ],
)
def test_semicolons_end_statements_only_where_sql_says_so(text: str, statements: list[str]) -> None:
    """Inside strings, names, dollar quotes, comments and atomic bodies a semicolon is text."""
    assert [statement for _, statement in sql.split(text)] == statements


def test_each_statement_knows_its_line() -> None:
    """An error can point into the file."""
    assert list(sql.split("select 1;\n\n-- two\nselect 2;\nselect 3;")) == [
        (1, "select 1"),
        (3, "-- two\nselect 2"),
        (5, "select 3"),
    ]
