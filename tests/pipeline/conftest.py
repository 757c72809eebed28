"""A random SAM3 of 268,000 parameters on disk, and the pieces around it."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from contracts.prompts import SegmentOptions
from pipeline import model_setup, settings
from pipeline.sam3 import Sam3Segmenter


if TYPE_CHECKING:
    from transformers import CLIPTokenizer, Sam3Config

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


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint directory in transformers' layout, random weights."""
    from transformers import Sam3Model

    folder = tmp_path_factory.mktemp("checkpoint")
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer()
    model = Sam3Model(tiny_config(tokenizer))
    for parameter in model.parameters():
        # The initial values are so small that all queries answer alike.
        torch.nn.init.normal_(parameter, std=0.15)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def make_settings(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., settings.Settings]:
    """Settings with a key, a free port and a cache of their own: `make_settings(field=…)`."""
    cache = tmp_path_factory.mktemp("cache")

    def make(**fields: Any) -> settings.Settings:
        given = {"api_secret_key": KEY, "pipeline_port": 0, "s3_cache_dir": cache, **fields}
        return settings.Settings.model_validate(given)

    return make


@pytest.fixture
def segmenter(checkpoint: Path, make_settings: Callable[..., settings.Settings]) -> Sam3Segmenter:
    """The real segmenter on the random checkpoint, fresh for each test."""
    given = make_settings(sam3_weights_path=str(checkpoint), sam3_device="cpu")
    opened = model_setup.open_segmenter(given)
    assert isinstance(opened, Sam3Segmenter)
    return opened
