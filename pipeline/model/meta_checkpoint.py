"""
Reads Meta's `sam3.pt` and renames its weights as transformers does, in memory.

The names follow transformers' own conversion (`convert_sam3_to_hf.py`). Three things differ in more
than the name: Meta stores query, key and value as one matrix; the picture's position embedding has
one place more, for a class token that SAM3 does not use; CLIP's text projection is transposed.
"""

import math
import re
from pathlib import Path
from typing import Any, Final

import torch


_DETECTOR: Final = "detector."

#: Weights that the detector does not use: the tracker, and tables that are computed on loading.
_IGNORED: Final = re.compile(r"^tracker\.|\.sam2_convs\.|\.freqs_cis$")

#: Meta's attention modules -> transformers'.
_ATTENTION: Final = {
    r"geometry_encoder\.encode\.(\d+)\.self_attn": r"geometry_encoder.layers.\1.self_attn",
    r"geometry_encoder\.encode\.(\d+)\.cross_attn_image": r"geometry_encoder.layers.\1.cross_attn",
    r"transformer\.encoder\.layers\.(\d+)\.self_attn": r"detr_encoder.layers.\1.self_attn",
    r"transformer\.encoder\.layers\.(\d+)\.cross_attn(?:_image)?": (
        r"detr_encoder.layers.\1.cross_attn"
    ),
    r"transformer\.decoder\.layers\.(\d+)\.self_attn": r"detr_decoder.layers.\1.self_attn",
    r"transformer\.decoder\.layers\.(\d+)\.ca_text": r"detr_decoder.layers.\1.text_cross_attn",
    r"transformer\.decoder\.layers\.(\d+)\.cross_attn": r"detr_decoder.layers.\1.vision_cross_attn",
    r"segmentation_head\.cross_attend_prompt": r"mask_decoder.prompt_cross_attn",
}

#: Beginning of Meta's name -> beginning of transformers'.
_NAMES: Final = {
    # vision encoder
    r"backbone\.vision_backbone\.trunk\.pos_embed$": (
        r"vision_encoder.backbone.embeddings.position_embeddings"
    ),
    r"backbone\.vision_backbone\.trunk\.patch_embed\.proj\.": (
        r"vision_encoder.backbone.embeddings.patch_embeddings.projection."
    ),
    r"backbone\.vision_backbone\.trunk\.ln_pre\.": r"vision_encoder.backbone.layer_norm.",
    r"backbone\.vision_backbone\.trunk\.blocks\.(\d+)\.norm([12])\.": (
        r"vision_encoder.backbone.layers.\1.layer_norm\2."
    ),
    r"backbone\.vision_backbone\.trunk\.blocks\.(\d+)\.attn\.qkv\.": (
        r"vision_encoder.backbone.layers.\1.attention.in_proj_"
    ),
    r"backbone\.vision_backbone\.trunk\.blocks\.(\d+)\.attn\.proj\.": (
        r"vision_encoder.backbone.layers.\1.attention.o_proj."
    ),
    r"backbone\.vision_backbone\.trunk\.blocks\.(\d+)\.mlp\.": (
        r"vision_encoder.backbone.layers.\1.mlp."
    ),
    r"backbone\.vision_backbone\.convs\.(\d+)\.(?:dconv_2x2(?:_0)?|maxpool_2x2)\.": (
        r"vision_encoder.neck.fpn_layers.\1.scale_layers.0."
    ),
    r"backbone\.vision_backbone\.convs\.(\d+)\.dconv_2x2_1\.": (
        r"vision_encoder.neck.fpn_layers.\1.scale_layers.2."
    ),
    r"backbone\.vision_backbone\.convs\.(\d+)\.conv_1x1\.": (
        r"vision_encoder.neck.fpn_layers.\1.proj1."
    ),
    r"backbone\.vision_backbone\.convs\.(\d+)\.conv_3x3\.": (
        r"vision_encoder.neck.fpn_layers.\1.proj2."
    ),
    # text encoder
    r"backbone\.language_backbone\.encoder\.token_embedding\.": (
        r"text_encoder.text_model.embeddings.token_embedding."
    ),
    r"backbone\.language_backbone\.encoder\.positional_embedding$": (
        r"text_encoder.text_model.embeddings.position_embedding.weight"
    ),
    r"backbone\.language_backbone\.encoder\.ln_final\.": (
        r"text_encoder.text_model.final_layer_norm."
    ),
    r"backbone\.language_backbone\.encoder\.text_projection$": (
        r"text_encoder.text_projection.weight"
    ),
    r"backbone\.language_backbone\.encoder\.transformer\.resblocks\.(\d+)\.attn\.": (
        r"text_encoder.text_model.encoder.layers.\1.self_attn."
    ),
    r"backbone\.language_backbone\.encoder\.transformer\.resblocks\.(\d+)\.ln_([12])\.": (
        r"text_encoder.text_model.encoder.layers.\1.layer_norm\2."
    ),
    r"backbone\.language_backbone\.encoder\.transformer\.resblocks\.(\d+)\.mlp\.c_fc\.": (
        r"text_encoder.text_model.encoder.layers.\1.mlp.fc1."
    ),
    r"backbone\.language_backbone\.encoder\.transformer\.resblocks\.(\d+)\.mlp\.c_proj\.": (
        r"text_encoder.text_model.encoder.layers.\1.mlp.fc2."
    ),
    r"backbone\.language_backbone\.resizer\.": r"text_projection.",
    # geometry encoder
    r"geometry_encoder\.encode\.(\d+)\.linear([12])\.": r"geometry_encoder.layers.\1.mlp.fc\2.",
    r"geometry_encoder\.encode\.(\d+)\.norm(\d)\.": r"geometry_encoder.layers.\1.layer_norm\2.",
    r"geometry_encoder\.img_pre_norm\.": r"geometry_encoder.vision_layer_norm.",
    r"geometry_encoder\.norm\.": r"geometry_encoder.prompt_layer_norm.",
    r"geometry_encoder\.encode_norm\.": r"geometry_encoder.output_layer_norm.",
    # detector encoder and decoder
    r"transformer\.encoder\.layers\.(\d+)\.linear([12])\.": r"detr_encoder.layers.\1.mlp.fc\2.",
    r"transformer\.encoder\.layers\.(\d+)\.norm(\d)\.": r"detr_encoder.layers.\1.layer_norm\2.",
    r"transformer\.decoder\.layers\.(\d+)\.linear([12])\.": r"detr_decoder.layers.\1.mlp.fc\2.",
    r"transformer\.decoder\.layers\.(\d+)\.norm1\.": (
        r"detr_decoder.layers.\1.vision_cross_attn_layer_norm."
    ),
    r"transformer\.decoder\.layers\.(\d+)\.catext_norm\.": (
        r"detr_decoder.layers.\1.text_cross_attn_layer_norm."
    ),
    r"transformer\.decoder\.layers\.(\d+)\.norm2\.": (
        r"detr_decoder.layers.\1.self_attn_layer_norm."
    ),
    r"transformer\.decoder\.layers\.(\d+)\.norm3\.": r"detr_decoder.layers.\1.mlp_layer_norm.",
    r"transformer\.decoder\.norm\.": r"detr_decoder.output_layer_norm.",
    r"transformer\.decoder\.presence_token_out_norm\.": r"detr_decoder.presence_layer_norm.",
    r"transformer\.decoder\.presence_token_head\.": r"detr_decoder.presence_head.",
    r"transformer\.decoder\.bbox_embed\.": r"detr_decoder.box_head.",
    r"transformer\.decoder\.boxRPB_embed_([xy])\.": r"detr_decoder.box_rpb_embed_\1.",
    r"transformer\.decoder\.": r"detr_decoder.",
    # scores
    r"dot_prod_scoring\.prompt_mlp\.out_norm\.": r"dot_product_scoring.text_mlp_out_norm.",
    r"dot_prod_scoring\.prompt_mlp\.": r"dot_product_scoring.text_mlp.",
    r"dot_prod_scoring\.prompt_proj\.": r"dot_product_scoring.text_proj.",
    r"dot_prod_scoring\.hs_proj\.": r"dot_product_scoring.query_proj.",
    # masks
    r"segmentation_head\.pixel_decoder\.": r"mask_decoder.pixel_decoder.",
    r"segmentation_head\.(?:mask_predictor\.)?mask_embed\.": r"mask_decoder.mask_embedder.",
    r"segmentation_head\.instance_seg_head\.": r"mask_decoder.instance_projection.",
    r"segmentation_head\.semantic_seg_head\.": r"mask_decoder.semantic_projection.",
    r"segmentation_head\.cross_attn_norm\.": r"mask_decoder.prompt_cross_attn_norm.",
}

#: Meta numbers the layers of these small networks from 0, transformers from 1.
_NUMBERED: Final = re.compile(
    r"^((?:detr_decoder\.(?:presence_head|box_head|ref_point_head|box_rpb_embed_[xy])"
    r"|dot_product_scoring\.text_mlp)\.)layers\.(\d+)\."
)

_RULES: Final = [
    *((re.compile(f"^{old}\\.out_proj\\."), f"{new}.o_proj.") for old, new in _ATTENTION.items()),
    *((re.compile(f"^{old}\\."), f"{new}.") for old, new in _ATTENTION.items()),
    *((re.compile(f"^{old}"), new) for old, new in _NAMES.items()),
]


def read(path: Path) -> dict[str, torch.Tensor]:
    """
    Read a checkpoint of Meta's sam3 and give its detector under transformers' names.

    Raises what `torch.load` raises on a damaged file. Only tensors are unpickled.
    """
    content: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    for wrapper in ("model", "state_dict"):
        if isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    return convert(content)


def convert(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename and split the weights of Meta's detector; leave the tracker's out."""
    with_prefix = any(name.startswith(_DETECTOR) for name in weights)
    converted: dict[str, torch.Tensor] = {}
    for name, weight in weights.items():
        if _IGNORED.search(name) or (with_prefix and not name.startswith(_DETECTOR)):
            continue
        converted |= _split(rename(name.removeprefix(_DETECTOR)), weight)
    return converted


def rename(name: str) -> str:
    """Give transformers' name; fused matrices keep `in_proj_` until they are split."""
    for old, new in _RULES:
        renamed, count = old.subn(new, name)
        if count:
            name = renamed
            break
    return _NUMBERED.sub(lambda match: f"{match[1]}layer{int(match[2]) + 1}.", name)


def _split(name: str, weight: torch.Tensor) -> dict[str, torch.Tensor]:
    """Turn one of Meta's weights, already renamed, into one or three of transformers'."""
    module, fused, kind = name.rpartition(".in_proj_")
    if fused:
        parts = zip("qkv", weight.chunk(3), strict=True)
        return {f"{module}.{letter}_proj.{kind}": part for letter, part in parts}
    if name.endswith("embeddings.position_embeddings"):
        return {name: _without_class_token(weight)}
    if name == "text_encoder.text_projection.weight":
        return {name: weight.T.contiguous()}
    return {name: weight}


def _without_class_token(embedding: torch.Tensor) -> torch.Tensor:
    """Drop the first place of (1, places, width), unless the places form a square without it."""
    places = embedding.shape[1]
    return embedding if math.isqrt(places) ** 2 == places else embedding[:, 1:]
