"""Where the trained model is kept, and when it is trained again."""

import dataclasses
from pathlib import Path

import pytest

from ai import train_tiny
from ai.tiny_config import Recipe


def test_another_recipe_is_another_folder() -> None:
    """A changed number is a changed digest."""
    assert train_tiny.tiny_model_dir(Recipe(steps=1)) != train_tiny.tiny_model_dir(Recipe(steps=2))


def test_rewording_a_docstring_is_the_same_recipe() -> None:
    """Comments and docstrings are not part of what decides the weights; code is."""
    code = '"""One."""\nx = 1  # why\n'

    assert train_tiny.code_of(code) == train_tiny.code_of('"""Two."""\n\nx = 1\n')
    assert train_tiny.code_of(code) != train_tiny.code_of(code.replace("1", "2"))


def test_the_cache_can_be_moved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """S3_CACHE_DIR is where the model is kept."""
    monkeypatch.setenv("S3_CACHE_DIR", str(tmp_path))

    assert tmp_path in train_tiny.tiny_model_dir().parents


def test_a_finished_model_is_not_trained_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a finished model in place the command only prints where it is."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "tiny.json").write_text("{}")

    assert train_tiny.main(["--out", str(folder), "--print-path"]) == 0
    assert capsys.readouterr().out.strip() == str(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["tiny.json"]


def test_the_recipe_of_the_demo_is_the_default() -> None:
    """The folder of the default recipe is the one that `make demo` uses."""
    assert train_tiny.tiny_model_dir() == train_tiny.tiny_model_dir(dataclasses.replace(Recipe()))
