"""The recipe of the tiny model: its size, its data, its training, in one frozen record."""

import dataclasses
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final


if TYPE_CHECKING:
    from transformers import CLIPTokenizer, Sam3Config

#: Two half-batches per step, one per core. Their mean is the gradient, with one process or two.
SHARDS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """All that decides the weights, apart from the source code."""

    seed: int = 0
    lessons: int = 2200  # first steps: vision alone learns to name colours and shapes
    steps: int = 5000  # in all

    # the model
    image_size: int = 64  # pixels; a patch then has few enough of them to learn shapes from
    patch_size: int = 8  # pixels
    vit_width: int = 64
    vit_layers: int = 3
    vit_heads: int = 8  # one for each neighbour of a patch
    width: int = 32  # of the detector: a multiple of 8, for the mask decoder's group norm
    heads: int = 4
    encoder_layers: int = 2
    decoder_layers: int = 2
    queries: int = 16
    text_width: int = 64

    # the data, per shard
    crowds: int = 5000  # crowded scenes for the lessons
    pupils: int = 16  # crowded scenes per lesson
    scenes: int = 5000
    images: int = 8  # per step after the lessons
    prompts: int = 4  # per image
    mask_pairs: int = 8  # pairs of image and prompt whose masks are trained

    # the training
    rate: float = 3e-3
    warmup: int = 60  # steps
    decay: float = 1e-4
    average: float = 0.998  # of the weights (exponential moving average)
    presence: float = 3.0  # weight of the presence loss
    gamma: float = 2.0  # focal loss
    alpha: float = 0.6  # weight of positives in the focal loss
    hints: float = 1.0  # weight of the losses on inner features, whose heads are thrown away

    @property
    def grid(self) -> int:
        """Patches along one side."""
        return self.image_size // self.patch_size

    @property
    def mask_size(self) -> int:
        """Side of the model's masks, in cells."""
        return 4 * self.grid

    def to_json(self) -> str:
        """Write the recipe as canonical JSON."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)


def model_config(recipe: Recipe, tokens: "CLIPTokenizer") -> "Sam3Config":
    """Translate the recipe into the configuration of stock `Sam3Model`."""
    from transformers import Sam3Config

    block = {
        "hidden_size": recipe.width,
        "num_attention_heads": recipe.heads,
        "intermediate_size": 2 * recipe.width,
        "dropout": 0.0,
    }
    return Sam3Config(
        vision_config=_vision_config(recipe),
        text_config={
            "model_type": "clip_text_model",
            "vocab_size": len(tokens),
            "hidden_size": recipe.text_width,
            "intermediate_size": 2 * recipe.text_width,
            "projection_dim": recipe.text_width,
            "num_hidden_layers": 1,
            "num_attention_heads": recipe.heads,
            "max_position_embeddings": 32,
            "hidden_act": "gelu",
            "bos_token_id": tokens.bos_token_id,
            "eos_token_id": tokens.eos_token_id,
            "pad_token_id": tokens.eos_token_id,
        },
        geometry_encoder_config={**block, "num_layers": 1, "roi_size": 3},
        detr_encoder_config={**block, "num_layers": recipe.encoder_layers},
        detr_decoder_config={
            **block,
            "num_layers": recipe.decoder_layers,
            "num_queries": recipe.queries,
        },
        mask_decoder_config={
            "hidden_size": recipe.width,
            "num_upsampling_stages": 2,
            "num_attention_heads": recipe.heads,
        },
    )


def _vision_config(recipe: Recipe) -> dict[str, Any]:
    grid = recipe.grid
    backbone = {
        "model_type": "sam3_vit_model",
        "hidden_size": recipe.vit_width,
        "intermediate_size": 2 * recipe.vit_width,
        "num_hidden_layers": recipe.vit_layers,
        "num_attention_heads": recipe.vit_heads,
        "image_size": recipe.image_size,
        "pretrain_image_size": recipe.image_size,
        "patch_size": recipe.patch_size,
        "window_size": grid // 2,  # no layer has windows; it sets the scale of the positions
        "global_attn_indexes": list(range(recipe.vit_layers)),
    }
    return {
        "backbone_config": backbone,
        "fpn_hidden_size": recipe.width,
        "backbone_feature_sizes": [[grid * 4] * 2, [grid * 2] * 2, [grid] * 2],
    }
