"""A random SAM3 with the small text encoder: every part of the real one, as small as it goes."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from random_sam3 import WIDTH, save_random, tiny_config, tiny_tokenizer


if TYPE_CHECKING:
    from transformers import CLIPTokenizer, Sam3LiteTextConfig


def tiny_lite_text_config(tokenizer: "CLIPTokenizer") -> "Sam3LiteTextConfig":
    """Vision and heads of the random SAM3; text by convolutions, attention, convolutions."""
    from transformers import Sam3LiteTextConfig

    shared = tiny_config(tokenizer).to_dict()
    parts = ("geometry_encoder", "detr_encoder", "detr_decoder", "mask_decoder")
    kept: dict[str, Any] = {f"{name}_config": shared[f"{name}_config"] for name in parts}
    for part in kept.values():
        del part["model_type"]
    return Sam3LiteTextConfig(
        vision_config=shared["vision_config"],
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": WIDTH,
            "intermediate_size": 64,
            "projection_dim": WIDTH,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "max_position_embeddings": 77,  # as published: more than the 32 places of a prompt
        },
        **kept,
    )


def save_lite_text(folder: Path) -> Path:
    """Write a checkpoint in transformers' layout, and give its folder."""
    from transformers import Sam3LiteTextModel

    tokenizer = tiny_tokenizer()
    return save_random(Sam3LiteTextModel(tiny_lite_text_config(tokenizer)), tokenizer, folder)
