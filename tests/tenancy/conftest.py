"""Fixtures of the tenancy matrix: five accounts and a superuser's connection."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from tenancy.accounts import Accounts

from devstack.testing import Stack


@pytest.fixture(scope="module")
def accounts(stack: Stack) -> Iterator[Accounts]:
    """Anon, user A, user B, a machine and a disabled machine; A never runs out of credits."""
    made = Accounts(stack)
    with psycopg.connect(stack.db_url, autocommit=True) as database:
        database.execute("select public.grant_credits(%s, 10000, 'matrix')", [made.owner.id])
    yield made
    made.http.close()


@pytest.fixture
def database(stack: Stack) -> Iterator[psycopg.Connection[Any]]:
    """The superuser, in autocommit."""
    with psycopg.connect(stack.db_url, autocommit=True) as connection:
        yield connection
