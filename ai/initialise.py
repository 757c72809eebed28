"""
Starting weights from which a tiny SAM3 learns in minutes.

With stock initialisation (std 0.02, all reference boxes at the centre) it learned nothing in five
minutes; each step below was needed (measured in the prototype).
"""

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ai import tiny_config, vocabulary


if TYPE_CHECKING:
    from transformers import CLIPTokenizer, Sam3Model


def new_model(recipe: tiny_config.Recipe, tokens: "CLIPTokenizer") -> "Sam3Model":
    """Build the untrained tiny model; a recipe always gives the same weights."""
    from transformers import Sam3Model

    torch.manual_seed(recipe.seed)
    model = Sam3Model(tiny_config.model_config(recipe, tokens))
    # The CPU kernel behind "sdpa" spends several times as long on heads this small.
    model.set_attn_implementation("eager")
    with torch.no_grad():
        _scale_layers(model)
        _spread_reference_boxes(model.detr_decoder, recipe.queries)
        _look_at_box_edges(model.detr_decoder)
        _look_at_neighbours(model.vision_encoder.backbone, recipe)
        _show_positions(model.vision_encoder.backbone.embeddings, recipe)
        _equate_synonyms(model.text_encoder.get_input_embeddings().weight, tokens)
    return model


def _scale_layers(model: nn.Module) -> None:
    """Give layers this narrow more than a standard deviation of 0.02."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.xavier_uniform_(module.weight)


def _spread_reference_boxes(decoder: Any, queries: int) -> None:
    """Start queries from boxes on a grid, and nearly equal otherwise."""
    side = math.ceil(queries**0.5)
    centres = (torch.arange(side) + 0.5) / side
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    size = torch.full((side * side,), 0.3)
    boxes = torch.stack([x.flatten(), y.flatten(), size, size], 1)[:queries]
    decoder.reference_points.weight.copy_(torch.logit(boxes))
    nn.init.normal_(decoder.query_embed.weight, std=0.02)
    nn.init.zeros_(decoder.box_head.layer3.weight)


def _look_at_box_edges(decoder: Any) -> None:
    """Let four heads attend to the left, right, top and bottom edge of the query's box."""
    for axis, mlp in enumerate((decoder.box_rpb_embed_x, decoder.box_rpb_embed_y)):
        first, second = mlp.layer1, mlp.layer2
        first.weight.mul_(0.1)
        second.weight.mul_(0.1)
        first.bias.zero_()
        first.weight[:4] = torch.tensor([[-1.0, 0], [1, 0], [0, -1], [0, 1]])
        near_start, near_end = torch.tensor([1.0, 1, 0, 0]), torch.tensor([0.0, 0, 1, 1])
        inside = torch.tensor([1.0, 0, 0, 1])
        for head in range(4):
            edge = head - 2 * axis
            wanted = near_start if edge == 0 else near_end if edge == 1 else inside
            second.weight[head, :4] = -5.0 * wanted


def _look_at_neighbours(backbone: Any, recipe: tiny_config.Recipe) -> None:
    """
    Let each head of the vision layers attend to one of the eight neighbouring patches.

    Shapes differ in how neighbouring patches fit together. Plain attention needs most of the
    training to learn that; this way the layers start as 3 by 3 convolutions. Queries and keys get
    constant parts that rotary positions rotate: with angles q and k their product is
    sharpness * cos(turn * (distance - offset)), which is greatest at the offset.
    """
    size = recipe.vit_width // recipe.vit_heads
    vertical = size // 4  # pairs of channels: first those of the columns, then those of the rows
    turn, sharpness = 0.5, 20.0  # radians per patch: window size / grid
    length = (sharpness * size**0.5) ** 0.5
    offsets = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]
    for layer in backbone.layers:
        query, key = layer.attention.q_proj, layer.attention.k_proj
        for projection in (query, key):
            projection.weight.mul_(0.1)
            projection.bias.zero_()
        for head in range(recipe.vit_heads):
            y, x = offsets[head % len(offsets)]
            for pair, offset in ((0, x), (vertical, y)):
                channel = head * size + 2 * pair
                key.bias[channel] = length
                query.bias[channel] = length * math.cos(turn * offset)
                query.bias[channel + 1] = length * math.sin(turn * offset)


def _show_positions(embeddings: Any, recipe: tiny_config.Recipe) -> None:
    """Add sine positions to the patches, so that attended patches carry their position."""
    centres = (torch.arange(recipe.grid) + 0.5) / recipe.grid
    y, x = (c.flatten()[:, None] for c in torch.meshgrid(centres, centres, indexing="ij"))
    waves = torch.arange(1, recipe.vit_width // 4 + 1) * math.pi / 2
    table = torch.cat([f(c * waves) for c in (x, y) for f in (torch.sin, torch.cos)], 1)
    embeddings.position_embeddings.copy_(0.5 * table[None])


def _equate_synonyms(table: torch.Tensor, tokens: "CLIPTokenizer") -> None:
    """Start words far apart, plurals equal to their singular, articles at zero."""
    nn.init.normal_(table, std=0.5)

    def row(word: str) -> int:
        return int(tokens(word).input_ids[1])

    for one, many in (vocabulary.SHAPES | vocabulary.ANYTHING).items():
        table[row(many)] = table[row(one)]
    table[row("object")] = table[row("objects")] = table[row("shape")]
    for article in vocabulary.ARTICLES:
        table[row(article)] = 0.0
