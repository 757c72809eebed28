"""Weights to work on."""

import shutil
from pathlib import Path

import pytest
from random_sam3 import save_sam3


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random SAM3 in transformers' layout."""
    return save_sam3(tmp_path_factory.mktemp("saved"))


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy of it to spoil."""
    return Path(shutil.copytree(saved, tmp_path / "copy"))
