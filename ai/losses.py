"""SAM3's training losses, which transformers lacks: matching, boxes, masks, presence."""

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional

from ai import tiny_config, vocabulary
from ai.batches import Batch, Pictures
from ai.forward import Prediction


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
