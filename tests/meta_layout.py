"""
Names a detector's weights as Meta's `sam3.pt` does: the inverse of `meta_checkpoint`.

The table is written a second time, from transformers' side, instead of inverted by code, so that a
round trip tests both.
"""

import re
from typing import Final

import torch


_PREFIX: Final = "detector."
_EMBEDDING: Final = "vision_encoder.backbone.embeddings.position_embeddings"
_PROJECTION: Final = "text_encoder.text_projection.weight"

_TRUNK: Final = "backbone.vision_backbone.trunk."
_TEXT: Final = "backbone.language_backbone."
_BLOCK: Final = _TEXT + r"encoder.transformer.resblocks.\1."
#: Beginning of transformers' name -> beginning of Meta's.
_NAMES: Final = [
    (r"vision_encoder\.backbone\.embeddings\.position_embeddings", _TRUNK + "pos_embed"),
    (
        r"vision_encoder\.backbone\.embeddings\.patch_embeddings\.projection\.",
        _TRUNK + "patch_embed.proj.",
    ),
    (r"vision_encoder\.backbone\.layer_norm\.", _TRUNK + "ln_pre."),
    (r"vision_encoder\.backbone\.layers\.(\d+)\.layer_norm(\d)\.", _TRUNK + r"blocks.\1.norm\2."),
    (
        r"vision_encoder\.backbone\.layers\.(\d+)\.attention\.in_proj_",
        _TRUNK + r"blocks.\1.attn.qkv.",
    ),
    (
        r"vision_encoder\.backbone\.layers\.(\d+)\.attention\.o_proj\.",
        _TRUNK + r"blocks.\1.attn.proj.",
    ),
    (r"vision_encoder\.backbone\.layers\.(\d+)\.mlp\.", _TRUNK + r"blocks.\1.mlp."),
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
        _TEXT + "encoder.token_embedding.",
    ),
    (
        r"text_encoder\.text_model\.embeddings\.position_embedding\.weight",
        _TEXT + "encoder.positional_embedding",
    ),
    (r"text_encoder\.text_model\.final_layer_norm\.", _TEXT + "encoder.ln_final."),
    (r"text_encoder\.text_projection\.weight", _TEXT + "encoder.text_projection"),
    (r"text_encoder\.text_model\.encoder\.layers\.(\d+)\.self_attn\.", _BLOCK + "attn."),
    (r"text_encoder\.text_model\.encoder\.layers\.(\d+)\.layer_norm(\d)\.", _BLOCK + r"ln_\2."),
    (r"text_encoder\.text_model\.encoder\.layers\.(\d+)\.mlp\.fc1\.", _BLOCK + "mlp.c_fc."),
    (r"text_encoder\.text_model\.encoder\.layers\.(\d+)\.mlp\.fc2\.", _BLOCK + "mlp.c_proj."),
    (r"text_projection\.", _TEXT + "resizer."),
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
    # inside blocks whose beginning is Meta's by now
    (r"(geometry_encoder)\.layers\.", r"\1.encode."),
    (r"(.*)\.layer_norm(\d)\.", r"\1.norm\2."),
    (r"((?:geometry_encoder|transformer)\..*)\.mlp\.fc(\d)\.", r"\1.linear\2."),
    (r"((?:geometry_encoder|transformer|segmentation_head)\..*)\.o_proj\.", r"\1.out_proj."),
]


def to_meta(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """
    Rename and join the weights of a detector.

    Query, key and value become one matrix; the picture's position embedding gets one place more, of
    zeros, for a class token that SAM3 does not use; CLIP's text projection is transposed.
    """
    joined = _join_attention(weights)
    if _EMBEDDING in joined:
        places = joined[_EMBEDDING]
        joined[_EMBEDDING] = torch.cat([torch.zeros_like(places[:, :1]), places], dim=1)
    if _PROJECTION in joined:
        joined[_PROJECTION] = joined[_PROJECTION].T
    return {f"{_PREFIX}{meta_name(name)}": one.contiguous() for name, one in joined.items()}


def _join_attention(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Put each query, key and value into one matrix, called `in_proj_`."""
    joined: dict[str, torch.Tensor] = {}
    for name, weight in weights.items():
        if match := re.match(r"(.*)\.q_proj\.(weight|bias)$", name):
            parts = [weights[f"{match[1]}.{letter}_proj.{match[2]}"] for letter in "qkv"]
            joined[f"{match[1]}.in_proj_{match[2]}"] = torch.cat(parts)
        elif not re.search(r"\.[kv]_proj\.", name):
            joined[name] = weight
    return joined


def meta_name(name: str) -> str:
    """Give Meta's name; query, key and value are joined already."""
    for ours, theirs in _NAMES:
        name = re.sub(f"^{ours}", theirs, name)
    return re.sub(r"\.layer(\d)\.", lambda match: f".layers.{int(match[1]) - 1}.", name)
