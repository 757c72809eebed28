"""A checkpoint with Meta's names loads as the same model."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from meta_layout import to_meta

from pipeline.errors import WeightsUnavailable
from pipeline.model import meta_checkpoint, weights


def as_meta(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A model's weights as Meta's file holds them, and what else that file holds."""
    meta = to_meta(state)
    embedding = "detector.backbone.vision_backbone.trunk.pos_embed"
    meta[embedding][:, 0] = 9  # a class token with numbers in it
    meta["detector.backbone.vision_backbone.trunk.blocks.0.attn.freqs_cis"] = torch.zeros(2)
    meta["detector.backbone.vision_backbone.sam2_convs.0.conv_1x1.weight"] = torch.zeros(2)
    meta["tracker.maskmem_tpos_enc"] = torch.zeros(2)
    return meta


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> Any:
    """The random model."""
    return weights.load(weights.locate(checkpoint))[0]


@pytest.fixture
def meta_file(checkpoint: Path, model: Any, tmp_path: Path) -> Path:
    """`sam3.pt` beside config and tokenizer."""
    for source in checkpoint.iterdir():
        if source.suffix == ".json":
            shutil.copy(source, tmp_path)
    torch.save(as_meta(model.state_dict()), tmp_path / "sam3.pt")
    return tmp_path / "sam3.pt"


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (
            "backbone.vision_backbone.trunk.blocks.31.attn.qkv.weight",
            "vision_encoder.backbone.layers.31.attention.in_proj_weight",
        ),
        (
            "transformer.decoder.layers.5.ca_text.in_proj_bias",
            "detr_decoder.layers.5.text_cross_attn.in_proj_bias",
        ),
        (
            "transformer.decoder.boxRPB_embed_x.layers.0.weight",
            "detr_decoder.box_rpb_embed_x.layer1.weight",
        ),
        ("geometry_encoder.label_embed.weight", "geometry_encoder.label_embed.weight"),
    ],
)
def test_known_names_are_known(theirs: str, ours: str) -> None:
    """Names read in transformers' own conversion, one of each kind."""
    assert meta_checkpoint.rename(theirs) == ours


def test_a_round_trip_gives_equal_weights(model: Any, meta_file: Path) -> None:
    """Saved with Meta's names and loaded again, every weight is the same."""
    for path in (meta_file, meta_file.parent):
        loaded, _ = weights.load(weights.locate(path))
        state = loaded.state_dict()
        assert state.keys() == model.state_dict().keys()
        for name, weight in model.state_dict().items():
            assert torch.equal(weight, state[name]), name


def test_a_trainers_checkpoint_has_no_prefix(model: Any) -> None:
    """Weights without `detector.` are taken as they are, the tracker's left out."""
    state = {
        name.removeprefix("detector."): one for name, one in as_meta(model.state_dict()).items()
    }
    assert meta_checkpoint.convert(state).keys() == model.state_dict().keys()


def test_a_missing_weight_is_seen(model: Any, meta_file: Path) -> None:
    """
    Negative control: a file that lacks one weight is refused.

    transformers itself would fill it with random numbers and only warn.
    """
    state = as_meta(model.state_dict())
    del state["detector.transformer.decoder.bbox_embed.layers.2.bias"]
    torch.save(state, meta_file)
    with pytest.raises(WeightsUnavailable, match=r"lacks 1 weights .*box_head\.layer3\.bias"):
        weights.load(weights.locate(meta_file))


def test_a_file_that_is_no_checkpoint_is_refused(meta_file: Path) -> None:
    """Garbage under the right name is one sentence, not a stack of foreign errors."""
    meta_file.write_bytes(b"\x80garbage")
    with pytest.raises(WeightsUnavailable, match="cannot be loaded"):
        weights.load(weights.locate(meta_file))
