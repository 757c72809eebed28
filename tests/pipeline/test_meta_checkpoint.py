"""A checkpoint with Meta's names loads as the same model."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline import meta_checkpoint, weights
from pipeline.errors import WeightsUnavailable


# transformers' names -> Meta's, written down the other way round than the code under test.
TRUNK = "backbone.vision_backbone.trunk."
TEXT = "backbone.language_backbone."
BLOCK = TEXT + r"encoder.transformer.resblocks.\1."
TO_META = [
    (r"vision_encoder\.backbone\.embeddings\.position_embeddings", TRUNK + "pos_embed"),
    (
        r"vision_encoder\.backbone\.embeddings\.patch_embeddings\.projection\.",
        TRUNK + "patch_embed.proj.",
    ),
    (r"vision_encoder\.backbone\.layer_norm\.", TRUNK + "ln_pre."),
    (r"vision_encoder\.backbone\.layers\.(\d+)\.layer_norm(\d)\.", TRUNK + r"blocks.\1.norm\2."),
    (
        r"vision_encoder\.backbone\.layers\.(\d+)\.attention\.in_proj_",
        TRUNK + r"blocks.\1.attn.qkv.",
    ),
    (
        r"vision_encoder\.backbone\.layers\.(\d+)\.attention\.o_proj\.",
        TRUNK + r"blocks.\1.attn.proj.",
    ),
    (r"vision_encoder\.backbone\.layers\.(\d+)\.mlp\.", TRUNK + r"blocks.\1.mlp."),
    (
        r"vision_encoder\.neck\.fpn_layers\.0\.scale_layers\.0\.",
        "backbone.vision_backbone.convs.0.dconv_2x2_0.",
    ),
    (
        r"vision_encoder\.neck\.fpn_layers\.0\.scale_layers\.2\.",
        "backbone.vision_backbone.convs.0.dconv_2x2_1.",
    ),
    (
        r"vision_encoder\.neck\.fpn_layers\.1\.scale_layers\.0\.",
        "backbone.vision_backbone.convs.1.dconv_2x2.",
    ),
    (
        r"vision_encoder\.neck\.fpn_layers\.(\d)\.proj1\.",
        r"backbone.vision_backbone.convs.\1.conv_1x1.",
    ),
    (
        r"vision_encoder\.neck\.fpn_layers\.(\d)\.proj2\.",
        r"backbone.vision_backbone.convs.\1.conv_3x3.",
    ),
    (
        r"text_encoder\.text_model\.embeddings\.token_embedding\.",
        TEXT + "encoder.token_embedding.",
    ),
    (
        r"text_encoder\.text_model\.embeddings\.position_embedding\.weight",
        TEXT + "encoder.positional_embedding",
    ),
    (r"text_encoder\.text_model\.final_layer_norm\.", TEXT + "encoder.ln_final."),
    (r"text_encoder\.text_projection\.weight", TEXT + "encoder.text_projection"),
    (r"text_encoder\.text_model\.encoder\.layers\.(\d+)\.self_attn\.", BLOCK + "attn."),
    (r"text_encoder\.text_model\.encoder\.layers\.(\d+)\.layer_norm(\d)\.", BLOCK + r"ln_\2."),
    (r"text_encoder\.text_model\.encoder\.layers\.(\d+)\.mlp\.fc1\.", BLOCK + "mlp.c_fc."),
    (r"text_encoder\.text_model\.encoder\.layers\.(\d+)\.mlp\.fc2\.", BLOCK + "mlp.c_proj."),
    (r"text_projection\.", TEXT + "resizer."),
    (r"geometry_encoder\.vision_layer_norm\.", "geometry_encoder.img_pre_norm."),
    (r"geometry_encoder\.prompt_layer_norm\.", "geometry_encoder.norm."),
    (r"geometry_encoder\.output_layer_norm\.", "geometry_encoder.encode_norm."),
    (
        r"geometry_encoder\.layers\.(\d+)\.cross_attn\.",
        r"geometry_encoder.encode.\1.cross_attn_image.",
    ),
    (
        r"detr_encoder\.layers\.(\d+)\.cross_attn\.",
        r"transformer.encoder.layers.\1.cross_attn_image.",
    ),
    (r"detr_encoder\.", "transformer.encoder."),
    (r"detr_decoder\.layers\.(\d+)\.text_cross_attn\.", r"transformer.decoder.layers.\1.ca_text."),
    (
        r"detr_decoder\.layers\.(\d+)\.vision_cross_attn\.",
        r"transformer.decoder.layers.\1.cross_attn.",
    ),
    (
        r"detr_decoder\.layers\.(\d+)\.vision_cross_attn_layer_norm\.",
        r"transformer.decoder.layers.\1.norm1.",
    ),
    (
        r"detr_decoder\.layers\.(\d+)\.text_cross_attn_layer_norm\.",
        r"transformer.decoder.layers.\1.catext_norm.",
    ),
    (
        r"detr_decoder\.layers\.(\d+)\.self_attn_layer_norm\.",
        r"transformer.decoder.layers.\1.norm2.",
    ),
    (r"detr_decoder\.layers\.(\d+)\.mlp_layer_norm\.", r"transformer.decoder.layers.\1.norm3."),
    (r"detr_decoder\.output_layer_norm\.", "transformer.decoder.norm."),
    (r"detr_decoder\.presence_layer_norm\.", "transformer.decoder.presence_token_out_norm."),
    (r"detr_decoder\.presence_head\.", "transformer.decoder.presence_token_head."),
    (r"detr_decoder\.box_head\.", "transformer.decoder.bbox_embed."),
    (r"detr_decoder\.box_rpb_embed_(.)\.", r"transformer.decoder.boxRPB_embed_\1."),
    (r"detr_decoder\.", "transformer.decoder."),
    (r"dot_product_scoring\.text_mlp_out_norm\.", "dot_prod_scoring.prompt_mlp.out_norm."),
    (r"dot_product_scoring\.text_mlp\.", "dot_prod_scoring.prompt_mlp."),
    (r"dot_product_scoring\.text_proj\.", "dot_prod_scoring.prompt_proj."),
    (r"dot_product_scoring\.query_proj\.", "dot_prod_scoring.hs_proj."),
    (r"mask_decoder\.mask_embedder\.", "segmentation_head.mask_predictor.mask_embed."),
    (r"mask_decoder\.instance_projection\.", "segmentation_head.instance_seg_head."),
    (r"mask_decoder\.semantic_projection\.", "segmentation_head.semantic_seg_head."),
    (r"mask_decoder\.prompt_cross_attn\.", "segmentation_head.cross_attend_prompt."),
    (r"mask_decoder\.prompt_cross_attn_norm\.", "segmentation_head.cross_attn_norm."),
    (r"mask_decoder\.", "segmentation_head."),
    # inside blocks, once the beginning is Meta's
    (r"(geometry_encoder)\.layers\.", r"\1.encode."),
    (r"(.*)\.layer_norm(\d)\.", r"\1.norm\2."),
    (r"((?:geometry_encoder|transformer)\..*)\.mlp\.fc(\d)\.", r"\1.linear\2."),
    (r"((?:geometry_encoder|transformer|segmentation_head)\..*)\.o_proj\.", r"\1.out_proj."),
]


def meta_name(name: str) -> str:
    """Meta's name of one of transformers' weights (fused already)."""
    for ours, theirs in TO_META:
        name = re.sub(f"^{ours}", theirs, name)
    return re.sub(r"\.layer(\d)\.", lambda match: f".layers.{int(match[1]) - 1}.", name)


def as_meta(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A model's weights as Meta's file holds them."""
    fused: dict[str, torch.Tensor] = {}
    for name, weight in state.items():
        if match := re.match(r"(.*)\.q_proj\.(weight|bias)$", name):
            parts = [state[f"{match[1]}.{letter}_proj.{match[2]}"] for letter in "qkv"]
            fused[f"{match[1]}.in_proj_{match[2]}"] = torch.cat(parts)
        elif not re.search(r"\.[kv]_proj\.", name):
            fused[name] = weight
    embedding = "vision_encoder.backbone.embeddings.position_embeddings"
    class_token = torch.full((1, 1, fused[embedding].shape[2]), 9.0)
    fused[embedding] = torch.cat([class_token, fused[embedding]], dim=1)
    projection = "text_encoder.text_projection.weight"
    fused[projection] = fused[projection].T
    meta = {f"detector.{meta_name(name)}": weight.clone() for name, weight in fused.items()}
    # What else the file holds.
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
