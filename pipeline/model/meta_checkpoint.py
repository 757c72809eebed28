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

#: Beginnings of Meta's name and of transformers' -> how each goes on.
_NAMES: Final = {
    # vision encoder
    (r"backbone\.vision_backbone\.trunk\.", r"vision_encoder.backbone."): {
        r"pos_embed$": r"embeddings.position_embeddings",
        r"patch_embed\.proj\.": r"embeddings.patch_embeddings.projection.",
        r"ln_pre\.": r"layer_norm.",
        r"blocks\.(\d+)\.norm([12])\.": r"layers.\1.layer_norm\2.",
        r"blocks\.(\d+)\.attn\.qkv\.": r"layers.\1.attention.in_proj_",
        r"blocks\.(\d+)\.attn\.proj\.": r"layers.\1.attention.o_proj.",
        r"blocks\.(\d+)\.mlp\.": r"layers.\1.mlp.",
    },
    (r"backbone\.vision_backbone\.convs\.", r"vision_encoder.neck.fpn_layers."): {
        r"(\d+)\.(?:dconv_2x2(?:_0)?|maxpool_2x2)\.": r"\1.scale_layers.0.",
        r"(\d+)\.dconv_2x2_1\.": r"\1.scale_layers.2.",
        r"(\d+)\.conv_1x1\.": r"\1.proj1.",
        r"(\d+)\.conv_3x3\.": r"\1.proj2.",
    },
    # text encoder
    (r"backbone\.language_backbone\.encoder\.", r"text_encoder."): {
        r"token_embedding\.": r"text_model.embeddings.token_embedding.",
        r"positional_embedding$": r"text_model.embeddings.position_embedding.weight",
        r"ln_final\.": r"text_model.final_layer_norm.",
        r"text_projection$": r"text_projection.weight",
    },
    (
        r"backbone\.language_backbone\.encoder\.transformer\.resblocks\.",
        r"text_encoder.text_model.encoder.layers.",
    ): {
        r"(\d+)\.attn\.": r"\1.self_attn.",
        r"(\d+)\.ln_([12])\.": r"\1.layer_norm\2.",
        r"(\d+)\.mlp\.c_fc\.": r"\1.mlp.fc1.",
        r"(\d+)\.mlp\.c_proj\.": r"\1.mlp.fc2.",
    },
    (r"backbone\.language_backbone\.", r""): {
        r"resizer\.": r"text_projection.",
    },
    # geometry encoder
    (r"geometry_encoder\.", r"geometry_encoder."): {
        r"encode\.(\d+)\.linear([12])\.": r"layers.\1.mlp.fc\2.",
        r"encode\.(\d+)\.norm(\d)\.": r"layers.\1.layer_norm\2.",
        r"img_pre_norm\.": r"vision_layer_norm.",
        r"norm\.": r"prompt_layer_norm.",
        r"encode_norm\.": r"output_layer_norm.",
    },
    # detector encoder and decoder
    (r"transformer\.encoder\.layers\.", r"detr_encoder.layers."): {
        r"(\d+)\.linear([12])\.": r"\1.mlp.fc\2.",
        r"(\d+)\.norm(\d)\.": r"\1.layer_norm\2.",
    },
    (r"transformer\.decoder\.", r"detr_decoder."): {
        r"layers\.(\d+)\.linear([12])\.": r"layers.\1.mlp.fc\2.",
        r"layers\.(\d+)\.norm1\.": r"layers.\1.vision_cross_attn_layer_norm.",
        r"layers\.(\d+)\.catext_norm\.": r"layers.\1.text_cross_attn_layer_norm.",
        r"layers\.(\d+)\.norm2\.": r"layers.\1.self_attn_layer_norm.",
        r"layers\.(\d+)\.norm3\.": r"layers.\1.mlp_layer_norm.",
        r"norm\.": r"output_layer_norm.",
        r"presence_token_out_norm\.": r"presence_layer_norm.",
        r"presence_token_head\.": r"presence_head.",
        r"bbox_embed\.": r"box_head.",
        r"boxRPB_embed_([xy])\.": r"box_rpb_embed_\1.",
        r"": r"",  # all others keep their name
    },
    # scores
    (r"dot_prod_scoring\.", r"dot_product_scoring."): {
        r"prompt_mlp\.out_norm\.": r"text_mlp_out_norm.",
        r"prompt_mlp\.": r"text_mlp.",
        r"prompt_proj\.": r"text_proj.",
        r"hs_proj\.": r"query_proj.",
    },
    # masks
    (r"segmentation_head\.", r"mask_decoder."): {
        r"pixel_decoder\.": r"pixel_decoder.",
        r"(?:mask_predictor\.)?mask_embed\.": r"mask_embedder.",
        r"instance_seg_head\.": r"instance_projection.",
        r"semantic_seg_head\.": r"semantic_projection.",
        r"cross_attn_norm\.": r"prompt_cross_attn_norm.",
    },
}

#: Meta numbers the layers of these small networks from 0, transformers from 1.
_NUMBERED: Final = re.compile(
    r"^((?:detr_decoder\.(?:presence_head|box_head|ref_point_head|box_rpb_embed_[xy])"
    r"|dot_product_scoring\.text_mlp)\.)layers\.(\d+)\."
)

_RULES: Final = [
    *((re.compile(f"^{old}\\.out_proj\\."), f"{new}.o_proj.") for old, new in _ATTENTION.items()),
    *((re.compile(f"^{old}\\."), f"{new}.") for old, new in _ATTENTION.items()),
    *(
        (re.compile(f"^{theirs}{old}"), ours + new)
        for (theirs, ours), names in _NAMES.items()
        for old, new in names.items()
    ),
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
