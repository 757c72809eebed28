"""Weights that are whole pass; each fault is named."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from random_sam3_lite_text import save_lite_text
from safetensors.torch import load_file, save_file

from ai.weights import verify
from ai.weights.__main__ import main
from ai.weights.verify import faults
from pipeline.model import weights


Spoil = Callable[[dict[str, torch.Tensor]], None]


def rewrite(folder: Path, change: Spoil) -> None:
    """Load, change and save the weights."""
    path = folder / "model.safetensors"
    state = load_file(path)
    change(state)
    save_file(state, path, metadata={"format": "pt"})


def test_whole_weights_pass(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 0; `--note` writes what the next look holds the files against."""
    assert main(["verify", str(folder), "--note"]) == 0
    assert "nothing to compare with" in capsys.readouterr().out
    assert main(["verify", str(folder)]) == 0
    assert "as SHA256SUMS says" in capsys.readouterr().out
    assert list(faults(save_lite_text(tmp_path / "lite"))) == []


def test_one_byte_flipped_is_seen(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Deep inside the numbers, where no reader notices.

    Without a digest to compare with, no fault is claimed.
    """
    path = folder / "model.safetensors"
    verify.note(folder, {path.name: weights.digest(path).hex()})
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)
    assert main(["verify", str(folder)]) == 1
    assert "changed or damaged" in capsys.readouterr().out
    (folder / verify.SUMS_FILE).unlink()
    assert list(faults(folder)) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: state.pop("detr_decoder.query_embed.weight"), "1 weights are missing"),
        (lambda state: state.update(surprise=torch.zeros(2)), "1 weights are unknown: surprise"),
        (
            lambda state: state.update({"detr_decoder.query_embed.weight": torch.zeros(9, 32)}),
            "has the shape (9, 32), not (8, 32)",
        ),
        (
            lambda state: state["detr_decoder.query_embed.weight"].fill_(torch.nan),
            "not finite: detr_decoder.query_embed.weight",
        ),
        (
            lambda state: state.update(
                {"detr_decoder.query_embed.weight": torch.zeros(8, 32, dtype=torch.int32)}
            ),
            "not of one floating type",
        ),
    ],
)
def test_each_fault_is_named(folder: Path, change: Spoil, said: str) -> None:
    """A weight less, a weight more, another shape, a number that is none, whole numbers."""
    rewrite(folder, change)
    [fault] = faults(folder)
    assert said in fault


def test_a_broken_header_is_one_sentence(folder: Path) -> None:
    """What a cut-off download leaves."""
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    [fault] = faults(folder)
    assert "cannot be read" in fault


def test_a_tokenizer_of_another_model_is_seen(folder: Path) -> None:
    """More words than the text encoder knows, a file that is none, no file."""
    config = json.loads((folder / "config.json").read_text())
    words = config["text_config"]["vocab_size"]
    tokens = json.loads((folder / "tokenizer.json").read_text())
    tokens["model"]["vocab"]["extra"] = words
    (folder / "tokenizer.json").write_text(json.dumps(tokens))
    assert [fault for fault in faults(folder) if f"{words + 1} words" in fault]
    (folder / "tokenizer.json").write_text("{")
    assert [fault for fault in faults(folder) if "tokenizer cannot be read" in fault]
    (folder / "tokenizer.json").unlink()
    assert [fault for fault in faults(folder) if "holds no tokenizer" in fault]
