"""A recipe of seconds."""

import pytest

from ai.tiny_config import Recipe


@pytest.fixture(scope="session")
def short() -> Recipe:
    """Four steps on a handful of scenes."""
    return Recipe(steps=4, scenes=8, images=2, prompts=2, mask_pairs=2)
