"""The two wheels, built once."""

from pathlib import Path

import pytest
from wheel_installs import ROOT, build_wheel


@pytest.fixture(scope="session")
def sdk_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The distribution s3-sam3."""
    return build_wheel(ROOT / "sdk", tmp_path_factory.mktemp("sdk"))


@pytest.fixture(scope="session")
def server_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The distribution s3-sam3-server."""
    return build_wheel(ROOT, tmp_path_factory.mktemp("server"))
