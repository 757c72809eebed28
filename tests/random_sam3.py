"""A random SAM3 of 260,000 parameters: every part of the real one, each as small as it goes."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from s3_sam3.contracts.prompts import SegmentOptions


if TYPE_CHECKING:
    from transformers import CLIPTokenizer, PreTrainedModel, Sam3Config

SIDE = 112  # pixels
WIDTH = 32
KEY = "a-key-for-tests"

#: A random model is sure of nothing: take every query.
EVERYTHING = SegmentOptions(threshold=0)


def tiny_tokenizer() -> "CLIPTokenizer":
    """CLIP's byte-pair encoding without any merge: one token per letter."""
    from transformers import CLIPTokenizer

    letters = [chr(code) for code in range(33, 127)]
    vocabulary = letters + [f"{letter}</w>" for letter in letters]
    vocabulary += ["<|startoftext|>", "<|endoftext|>"]
    numbered = {token: number for number, token in enumerate(vocabulary)}
    return CLIPTokenizer(vocab=numbered, merges=[], model_max_length=32)


def tiny_config(tokenizer: "CLIPTokenizer") -> "Sam3Config":
    """SAM3 with every part, each as small as it goes."""
    from transformers import Sam3Config

    grid = SIDE // 14
    attention: dict[str, Any] = {"hidden_size": WIDTH, "num_attention_heads": 2}
    block = {**attention, "intermediate_size": 64, "dropout": 0.0}
    end = tokenizer.eos_token_id
    return Sam3Config(
        vision_config={
            "backbone_config": {
                "model_type": "sam3_vit_model",
                **attention,
                "intermediate_size": 64,
                "num_hidden_layers": 2,
                "image_size": SIDE,
                "patch_size": 14,
                "window_size": 4,
                "global_attn_indexes": [1],
                "pretrain_image_size": SIDE,
            },
            "fpn_hidden_size": WIDTH,
            "backbone_feature_sizes": [[grid * 4] * 2, [grid * 2] * 2, [grid] * 2],
        },
        text_config={
            "model_type": "clip_text_model",
            "vocab_size": len(tokenizer),
            **attention,
            "intermediate_size": 64,
            "projection_dim": WIDTH,
            "num_hidden_layers": 1,
            "max_position_embeddings": 32,
            "hidden_act": "gelu",
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": end,
            "pad_token_id": end,
        },
        geometry_encoder_config={**block, "num_layers": 1},
        detr_encoder_config={**block, "num_layers": 1},
        detr_decoder_config={**block, "num_layers": 2, "num_queries": 8},
        mask_decoder_config={**attention, "num_upsampling_stages": 2},
    )


def save_sam3(folder: Path) -> Path:
    """Write a checkpoint in transformers' layout, and give its folder."""
    from transformers import Sam3Model

    tokenizer = tiny_tokenizer()
    return save_random(Sam3Model(tiny_config(tokenizer)), tokenizer, folder)


def save_random(model: "PreTrainedModel", tokenizer: "CLIPTokenizer", folder: Path) -> Path:
    """Give a model random weights and write it down."""
    import torch

    torch.set_num_threads(1)  # more would only wait for each other
    torch.manual_seed(0)
    for parameter in model.parameters():
        # The initial values are so small that all queries answer alike.
        torch.nn.init.normal_(parameter, std=0.15)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
