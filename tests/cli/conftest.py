"""Pictures of a batch, its folder, and a fake service."""

from pathlib import Path

import pytest
from fake_service import FakeService


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """Five files with bytes of their own; the fake service does not look at them."""
    folder = tmp_path / "photos"
    folder.mkdir()
    paths = [folder / f"{name}.png" for name in "abcde"]
    for path in paths:
        path.write_text(path.stem)
    return paths


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The folder of the batch."""
    return tmp_path / "out"


@pytest.fixture
def service() -> FakeService:
    """A service without faults."""
    return FakeService()
