"""Which addresses are public: one list of examples for Python and the Edge Functions."""

import json
from pathlib import Path

import pytest

from adapters.guard import is_public


VECTORS: dict[str, list[str]] = json.loads(
    (Path(__file__).parents[1] / "vectors/addresses.json").read_text()
)


@pytest.mark.parametrize("address", VECTORS["public"])
def test_the_open_internet_is_public(address: str) -> None:
    """Both sides of each border, and public addresses inside others."""
    assert is_public(address)


@pytest.mark.parametrize("address", VECTORS["private"])
def test_nothing_else_is(address: str) -> None:
    """Our own network in every spelling, what is reserved, and what is no address."""
    assert not is_public(address)
