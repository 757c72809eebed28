"""A recipe of seconds."""

import pytest

from ai.tiny_config import Recipe


@pytest.fixture(scope="session")
def short() -> Recipe:
    """Two steps of vision alone and two with prompts, on a handful of scenes."""
    return Recipe(
        lessons=2, steps=4, crowds=8, pupils=2, scenes=8, images=2, prompts=2, mask_pairs=2
    )
