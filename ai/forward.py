"""The forward pass that training needs: `Sam3Model.forward` with the outputs of every layer."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ai.batches import Batch


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
