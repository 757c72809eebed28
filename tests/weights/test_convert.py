"""Meta's layout and transformers', both ways, bit by bit."""

from pathlib import Path

import pytest
import torch
from random_sam3_lite_text import save_lite_text
from safetensors.torch import load_file

from ai.weights.__main__ import main
from ai.weights.convert import NotConvertible, convert
from pipeline.model import weights


@pytest.fixture
def meta_file(folder: Path) -> Path:
    """The random model in Meta's layout, beside its config and tokenizer."""
    written = convert(folder, folder / "sam3.pt")
    (folder / "model.safetensors").unlink()
    return written


def spoil(path: Path, **changes: torch.Tensor | None) -> None:
    """Change weights of Meta's file; None takes one away."""
    state = torch.load(path, weights_only=True)
    for name, one in changes.items():
        state.pop(name, None)
        if one is not None:
            state[name] = one
    torch.save(state, path)


def test_there_and_back_every_bit_is_the_same(saved: Path, meta_file: Path, tmp_path: Path) -> None:
    """Transformers → Meta → transformers, by the commands; both serve."""
    assert main(["convert", str(meta_file), str(tmp_path / "back")]) == 0
    before = load_file(saved / "model.safetensors")
    after = load_file(tmp_path / "back" / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(one, after[name]) for name, one in before.items())
    for place in (meta_file, tmp_path / "back"):
        weights.load(weights.locate(place))
        assert main(["verify", str(place)]) == 0


def test_metas_names_are_metas(meta_file: Path) -> None:
    """Some that Meta's own loader asks for, one of each kind; it fills gaps in silence."""
    state = torch.load(meta_file, weights_only=True)
    for name in (
        "backbone.vision_backbone.trunk.blocks.1.attn.qkv.weight",
        "backbone.language_backbone.encoder.text_projection",
        "transformer.decoder.layers.1.ca_text.in_proj_bias",
        "transformer.decoder.boxRPB_embed_x.layers.0.weight",
        "geometry_encoder.encode.0.linear1.weight",
        "dot_prod_scoring.prompt_mlp.layers.1.bias",
        "segmentation_head.mask_predictor.mask_embed.layers.2.weight",
    ):
        assert f"detector.{name}" in state


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"detector.transformer.decoder.bbox_embed.layers.2.bias": None},
            r"1 weights are missing: detr_decoder\.box_head\.layer3\.bias",
        ),
        ({"detector.surprise": torch.zeros(2)}, r"1 weights are unknown: surprise"),
        (
            {"detector.transformer.decoder.query_embed.weight": torch.zeros(9, 32)},
            r"query_embed\.weight has the shape \(9, 32\), not \(8, 32\)",
        ),
    ],
)
def test_what_does_not_fit_is_named(
    meta_file: Path, tmp_path: Path, changes: dict[str, torch.Tensor | None], said: str
) -> None:
    """Negative controls: a weight less, a weight more, another shape; nothing is written."""
    spoil(meta_file, **changes)
    with pytest.raises(NotConvertible, match=said):
        convert(meta_file, tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_what_is_there_is_not_written_over(folder: Path, meta_file: Path) -> None:
    """A target with weights in it, and a folder's name where a file's belongs."""
    (folder / "model.safetensors").write_bytes(b"precious")
    for source, target in ((meta_file, folder), (meta_file, folder / "other.pt")):
        with pytest.raises(NotConvertible, match="must be a folder"):
            convert(source, target)
    assert (folder / "model.safetensors").read_bytes() == b"precious"


def test_another_backend_has_no_meta_layout(tmp_path: Path) -> None:
    """Meta's file holds SAM3; the small text encoder has no names there."""
    with pytest.raises(NotConvertible, match="not sam3_lite_text"):
        convert(save_lite_text(tmp_path / "lite"), tmp_path / "lite.pt")
