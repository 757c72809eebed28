"""The forward pass that training needs, and SAM3's losses, both of which transformers lacks."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torch.nn import functional

from ai import tiny_config, vocabulary
from ai.batches import Batch, Pictures


if TYPE_CHECKING:
    from transformers import Sam3Model


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """L decoder layers, B pairs, Q queries, P pairs with masks of M by M cells."""

    logits: Tensor  # (L, B, Q)
    boxes: Tensor  # (L, B, Q, 4): centre x, centre y, width, height in 0..1
    presence: Tensor  # (L, B, 1)
    pairs: Tensor  # (P,) the pairs that have masks
    masks: Tensor  # (P, Q, M, M)
    semantic: Tensor  # (P, 1, M, M)
    seen: Tensor  # (n, colours + shapes, grid, grid): hint head on the vision features
    asked: Tensor  # (B, grid * grid): hint head on the prompted features


class Hints(nn.Module):
    """
    Two linear heads that exist in training only.

    One names colour and shape in each cell of the vision features; the other says whether a cell
    belongs to what the prompt asks for. They give inner layers a direct training signal.
    """

    def __init__(self, width: int, names: int) -> None:
        """Take the detector's width and the number of colours and shapes together."""
        super().__init__()
        self.seen = nn.Conv2d(width, names, 1)
        self.asked = nn.Linear(width, 1)


def see(model: "Sam3Model", hints: Hints, pixels: Tensor) -> Tensor:
    """Run the part of vision that names colours and shapes, for `Prediction.seen`."""
    encoder = model.vision_encoder
    states = encoder.backbone(pixels).last_hidden_state
    side = int(states.shape[1] ** 0.5)
    square = states.view(len(pixels), side, side, -1).permute(0, 3, 1, 2)
    seen: Tensor = hints.seen(encoder.neck.fpn_layers[2](square))
    return seen


def predict(model: "Sam3Model", hints: Hints, batch: Batch, pairs: Tensor) -> Prediction:
    """Run vision once per picture and the detector once per pair; masks for *pairs* only."""
    from transformers.models.sam3.modeling_sam3 import inverse_sigmoid

    vision = model.get_vision_features(pixel_values=batch.pictures.pixels)
    levels = [level[batch.rows] for level in vision.fpn_hidden_states[:-1]]
    position = vision.fpn_position_encoding[2][batch.rows]
    prompt, valid = _prompt_features(model, batch, levels[-1], position)
    encoded = model.detr_encoder(
        vision_features=[levels[-1]],
        text_features=prompt,
        vision_pos_embeds=[position],
        text_mask=valid,
    )
    decoded = model.detr_decoder(
        vision_features=encoded.last_hidden_state,
        text_features=prompt,
        vision_pos_encoding=encoded.pos_embeds_flattened,
        text_mask=valid,
        spatial_shapes=encoded.spatial_shapes,
    )
    states = decoded.intermediate_hidden_states
    offsets = model.detr_decoder.box_head(states)
    drawn = model.mask_decoder(
        decoder_queries=states[-1][pairs],
        backbone_features=[level[pairs] for level in levels],
        encoder_hidden_states=encoded.last_hidden_state[pairs],
        prompt_features=prompt[pairs],
        prompt_mask=valid[pairs],
    )
    return Prediction(
        logits=model.dot_product_scoring(
            decoder_hidden_states=states, text_features=prompt, text_mask=valid
        ).squeeze(-1),
        boxes=(inverse_sigmoid(decoded.reference_boxes) + offsets).sigmoid(),
        presence=decoded.presence_logits,
        pairs=pairs,
        masks=drawn.pred_masks,
        semantic=drawn.semantic_seg,
        seen=hints.seen(vision.fpn_hidden_states[2]),
        asked=hints.asked(encoded.last_hidden_state).squeeze(-1),
    )


def _prompt_features(
    model: "Sam3Model", batch: Batch, features: Tensor, position: Tensor
) -> tuple[Tensor, Tensor]:
    """
    Encode text and exemplar boxes into one row of tokens per pair, with the mask of valid ones.

    Pairs without a box get two masked tokens, which attention and means ignore.
    """
    text = model.get_text_features(
        input_ids=batch.ids, attention_mask=batch.words.long()
    ).pooler_output
    if not batch.boxed.any():
        return text, batch.words
    boxed = batch.boxed.nonzero().squeeze(1)
    encoded = model.geometry_encoder(
        box_embeddings=batch.exemplar[boxed][:, None],
        box_mask=torch.ones(len(boxed), 1, dtype=torch.bool),
        box_labels=torch.ones(len(boxed), 1, dtype=torch.long),
        img_feats=(features[boxed],),
        img_pos_embeds=(position[boxed],),
    ).last_hidden_state
    geometry = text.new_zeros(len(text), encoded.shape[1], text.shape[2])
    geometry = geometry.index_put((boxed,), encoded)
    valid = batch.boxed[:, None].expand(-1, encoded.shape[1])
    return torch.cat([text, geometry], 1), torch.cat([batch.words, valid], 1)


def corners(boxes: Tensor) -> Tensor:
    """Turn (centre x, centre y, width, height) into (left, top, right, bottom)."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([centre - half, centre + half], -1)


def generalised_iou(one: Tensor, other: Tensor) -> Tensor:
    """GIoU of boxes given by centre and size; broadcasts over the leading dimensions."""
    a, b = corners(one), corners(other)
    inner = torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])
    outer = torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])
    shared = inner.clamp(min=0).prod(-1)
    union = one[..., 2:].prod(-1) + other[..., 2:].prod(-1) - shared
    hull = outer.prod(-1)
    return shared / (union + 1e-7) - (hull - union) / (hull + 1e-7)


def distance(one: Tensor, other: Tensor) -> Tensor:
    """Distance of two boxes: L1 and GIoU, weighted as in DETR."""
    return 5 * (one - other).abs().sum(-1) + 2 * (1 - generalised_iou(one, other))


def match(logits: Tensor, apart: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """
    Give each wanted thing its own query at the least total cost (Hungarian).

    *logits* (B, Q), *apart* (B, Q, T), *wanted* (B, T). Returns pair, query and thing indices.
    """
    cost = (apart - 2 * logits.sigmoid()[..., None]).detach().numpy()
    matches = []
    for pair, row in enumerate(wanted.numpy()):
        things = row.nonzero()[0]
        if len(things):
            queries, columns = linear_sum_assignment(cost[pair][:, things])
            matches += [(pair, q, things[c]) for q, c in zip(queries, columns, strict=True)]
    if not matches:
        return (torch.zeros(0, dtype=torch.long),) * 3
    pairs, queries, slots = torch.tensor(matches).T
    return pairs, queries, slots


def total(recipe: tiny_config.Recipe, batch: Batch, said: Prediction) -> dict[str, Tensor]:
    """All losses by name, weighted; training lowers their sum."""
    losses = {"presence": recipe.presence * _presence(batch, said)}
    layers = len(said.logits)
    for layer in range(layers):
        for name, value in _layer(recipe, batch, said, layer).items():
            losses[name] = losses.get(name, torch.zeros(())) + value / layers
    losses["semantic"] = 2 * _semantic(batch, said)
    if recipe.hints:
        losses["seen"] = recipe.hints * seen(batch.pictures, said.seen)
        losses["asked"] = recipe.hints * _asked(batch, said)
    return losses


def _presence(batch: Batch, said: Prediction) -> Tensor:
    """Whether the picture holds what is asked for, averaged over layers and pairs."""
    present = batch.wanted.any(1, keepdim=True).float().expand_as(said.presence)
    return functional.binary_cross_entropy_with_logits(said.presence, present)


def _layer(
    recipe: tiny_config.Recipe, batch: Batch, said: Prediction, layer: int
) -> dict[str, Tensor]:
    logits, boxes = said.logits[layer], said.boxes[layer]
    count = max(int(batch.wanted.sum()), 1)
    apart = distance(boxes[:, :, None], batch.boxes[:, None])
    pairs, queries, slots = match(logits, apart, batch.wanted)
    hit = torch.zeros_like(logits)
    hit[pairs, queries] = 1
    losses = {
        "box": apart[pairs, queries, slots].sum() / count,
        "class": 8 * _focal(recipe, batch, logits, hit) / count,
    }
    if layer + 1 < len(said.logits):
        losses["near"] = _near(batch, boxes, apart)
    else:
        losses["mask"] = _mask(batch, said, (pairs, queries, slots))
    return losses


def _focal(recipe: tiny_config.Recipe, batch: Batch, logits: Tensor, hit: Tensor) -> Tensor:
    """Focal loss of the queries, where something is present: SAM3 scores under that condition."""
    present = batch.wanted.any(1, keepdim=True).float()
    weight = recipe.alpha * hit + (1 - recipe.alpha) * (1 - hit)
    error = functional.binary_cross_entropy_with_logits(logits, hit, reduction="none")
    return (present * weight * error * (logits.sigmoid() - hit).abs() ** recipe.gamma).sum()


def _near(batch: Batch, boxes: Tensor, apart: Tensor) -> Tensor:
    """In inner layers any query close to any thing learns its box, for every prompt."""
    there = batch.pictures.there[batch.rows]
    offset = (boxes[:, :, None] - batch.boxes[:, None]).abs().sum(-1).detach()
    nearest = offset.masked_fill(~there[:, None], 9.0).min(2)
    pairs, queries = (nearest.values < 0.25).nonzero(as_tuple=True)
    if not len(pairs):
        return torch.zeros(())
    return apart[pairs, queries, nearest.indices[pairs, queries]].mean()


def _mask(batch: Batch, said: Prediction, matched: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Dice, focal and plain cross-entropy of the masks of matched queries."""
    place = torch.full((len(batch.rows),), -1)
    place[said.pairs] = torch.arange(len(said.pairs))
    pairs, queries, slots = (index[place[matched[0]] >= 0] for index in matched)
    if not len(pairs):
        return torch.zeros(())
    logits = said.masks[place[pairs], queries].flatten(1)
    truth = batch.pictures.masks[batch.rows[pairs], slots].flatten(1)
    cover = logits.sigmoid()
    dice = 1 - (2 * (cover * truth).sum(1) + 1) / (cover.sum(1) + truth.sum(1) + 1)
    error = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    focal = (error * (cover - truth).abs() ** 2).mean()
    # Masks come from the last layer only; the sum over layers is a mean, hence the weights.
    return 6 * dice.mean() + 20 * focal + 4 * error.mean()


def _semantic(batch: Batch, said: Prediction) -> Tensor:
    """One mask of everything that was asked for."""
    wanted = batch.wanted[said.pairs][..., None, None]
    truth = (batch.pictures.masks[batch.rows[said.pairs]] * wanted).amax(1, keepdim=True)
    return functional.binary_cross_entropy_with_logits(said.semantic, truth)


def seen(pictures: Pictures, said: Tensor) -> Tensor:
    """
    Colour and shape of the thing that covers most of a cell, weighted by how much it covers.

    *said* is (n, colours + shapes, side, side).
    """
    cells = _cells(pictures, said.shape[-1])
    cover, slot = cells.max(1)
    weight = cover / cover.sum().clamp(min=1.0)
    colours = len(vocabulary.COLOURS)
    error = torch.zeros_like(cover)
    for logits, names in (
        (said[:, :colours], pictures.colours),
        (said[:, colours:], pictures.shapes),
    ):
        truth = names.gather(1, slot.flatten(1)).view_as(slot).clamp(min=0)
        error = error + functional.cross_entropy(logits, truth, reduction="none")
    return (error * weight).sum()


def _cells(pictures: Pictures, side: int) -> Tensor:
    """Coverage of each thing in the cells of the vision features: (n, T, side, side)."""
    return functional.adaptive_avg_pool2d(pictures.masks, side) * pictures.there[..., None, None]


def _asked(batch: Batch, said: Prediction) -> Tensor:
    """The part of each cell that belongs to what was asked for."""
    cells = _cells(batch.pictures, said.seen.shape[-1])[batch.rows]
    truth = (cells * batch.wanted[..., None, None]).amax(1).flatten(1)
    return 8 * functional.binary_cross_entropy_with_logits(said.asked, truth)
