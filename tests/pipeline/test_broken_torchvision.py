"""A broken torchvision does not take SAM3 down with it."""

import subprocess
import sys
from pathlib import Path

import pytest


GATED = "from pipeline.model import torchvision_fallback as f; print(f.hide_if_broken());"
USE = "from transformers import Sam3Model; import transformers.image_utils; print(Sam3Model)"


def python(code: str, path: Path) -> subprocess.CompletedProcess[str]:
    """Run *code* in a new interpreter that finds packages in *path* first."""
    bootstrap = f"import sys; sys.path.insert(0, {str(path)!r}); {code}"
    return subprocess.run(
        [sys.executable, "-c", bootstrap], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A folder with a torchvision that dies as one built for another torch does."""
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from torchvision import _meta\n"
        "raise RuntimeError('operator torchvision::nms does not exist')\n"
    )
    (package / "_meta.py").write_text("")
    info = tmp_path / "torchvision-0.28.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torchvision\nVersion: 0.28.0\n")
    return tmp_path


def test_transformers_imports_beside_a_broken_torchvision(broken: Path) -> None:
    """Behind the gate, SAM3 imports."""
    done = python(GATED + USE, broken)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("True")


def test_without_the_gate_it_does_not(broken: Path) -> None:
    """Negative control: the broken package does break transformers."""
    assert "nms does not exist" in python(USE, broken).stderr


def test_without_torchvision_nothing_is_hidden(tmp_path: Path) -> None:
    """Where torchvision is not installed the gate does nothing."""
    done = python(GATED, tmp_path)
    assert done.stdout.strip() == "False", done.stderr
