"""
Measure a trained tiny model on scenes it has not seen: ``python -m ai.evaluate DIR``.

It uses a checkpoint folder, `Sam3Model`, stock scores and thresholds, as any user of transformers
would. A thing that is not found counts as IoU 0. Exit code 1 when a target is missed.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional

from ai import scenes, vocabulary
from ai.batches import box_of
from ai.vocabulary import Concept
from pipeline.model import preprocess, torchvision_fallback


#: Held-out scenes come from this seed; training draws from seeds of another shape.
HELD_OUT: Final = 10_000

#: Side of a held-out scene in pixels, at which masks are compared; the model's may differ.
SIDE: Final = 112

#: A found thing counts as recalled above this IoU.
RECALL_IOU: Final = 0.5

#: Name of a figure -> (at least, at most). To meet them, change the recipe, not the targets.
TARGETS: Final[dict[str, tuple[float, float]]] = {
    "mean_iou": (0.70, 1.0),
    "recall": (0.80, 1.0),
    "absent_fires": (0.0, 0.12),
}

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One prompt, perhaps with an exemplar box (centre x, centre y, width, height in 0..1)."""

    text: str
    box: tuple[float, float, float, float] | None = None


class Model:
    """A checkpoint folder, opened as any user of transformers would."""

    def __init__(self, folder: Path) -> None:
        torchvision_fallback.install()
        from transformers import CLIPTokenizer, Sam3Model

        self.model: Sam3Model = Sam3Model.from_pretrained(folder).eval()
        self.tokens: CLIPTokenizer = CLIPTokenizer.from_pretrained(folder)

    @torch.inference_mode()
    def answer(
        self, picture: Image.Image, questions: Sequence[Question], threshold: float = 0.5
    ) -> list[list[Mask]]:
        """Segment a picture for each question; masks are at the picture's size."""
        answers: list[list[Mask]] = [[] for _ in questions]
        side = self.model.config.vision_config.backbone_config.image_size
        vision = self.model.get_vision_features(
            pixel_values=preprocess.to_pixel_values(picture, side)
        )
        for boxed in (False, True):
            group = [i for i, question in enumerate(questions) if bool(question.box) is boxed]
            if group:
                masks = self._ask(vision, [questions[i] for i in group], picture, threshold)
                for i, found in zip(group, masks, strict=True):
                    answers[i] = found
        return answers

    def _ask(
        self, vision: Any, questions: Sequence[Question], picture: Image.Image, threshold: float
    ) -> list[list[Mask]]:
        """Ask questions that all have a box, or all have none (a mixed batch answers otherwise)."""
        from transformers.models.sam3.modeling_sam3 import Sam3VisionEncoderOutput

        text = self.tokens(
            [question.text for question in questions],
            padding="max_length",
            max_length=vocabulary.TEXT_TOKENS,
            return_tensors="pt",
        )
        boxes = [question.box for question in questions if question.box]
        given = {"input_boxes": torch.tensor(boxes)[:, None]} if boxes else {}
        if boxes:
            given["input_boxes_labels"] = torch.ones(len(boxes), 1, dtype=torch.long)
        repeated = Sam3VisionEncoderOutput(
            **{
                name: tuple(level.expand(len(questions), *level.shape[1:]) for level in levels)
                for name, levels in vision.items()
                if name.startswith("fpn_")
            }
        )
        said = self.model(
            vision_embeds=repeated,
            input_ids=text.input_ids,
            attention_mask=text.attention_mask,
            **given,
        )
        scores = said.pred_logits.sigmoid() * said.presence_logits.sigmoid()
        size = (picture.height, picture.width)
        return [
            instance_masks(masks, keep, size)
            for masks, keep in zip(said.pred_masks, scores > threshold, strict=True)
        ]


def instance_masks(masks: Tensor, keep: Tensor, size: tuple[int, int]) -> list[Mask]:
    """Threshold the kept masks at 0.5, at *size* (height, width), as SAM3's stock code does."""
    if not keep.any():
        return []
    probable = functional.interpolate(
        masks[keep].sigmoid()[None], size=size, mode="bilinear", align_corners=False
    )
    return list((probable[0] > 0.5).numpy())


@dataclass(slots=True, kw_only=True)
class Tally:
    """Compares found masks with true ones."""

    ious: list[float] = field(default_factory=list)  # of each true thing; 0 = missed
    answers: int = 0

    def add(self, found: Sequence[Mask], true: Sequence[Mask]) -> None:
        """Pair found masks with true ones so that the sum of their IoUs is greatest."""
        table = np.array([[iou(a, b) for b in true] for a in found]).reshape(len(found), len(true))
        rows, columns = linear_sum_assignment(-table)
        best = np.zeros(len(true))
        best[columns] = table[rows, columns]
        self.ious += best.tolist()
        self.answers += len(found)

    @property
    def mean_iou(self) -> float:
        """Mean over all true things; missed ones count as 0."""
        return float(np.mean(self.ious)) if self.ious else 0.0

    @property
    def recalled(self) -> int:
        """True things found with more than half overlap."""
        return sum(iou > RECALL_IOU for iou in self.ious)

    @property
    def recall(self) -> float:
        """Share of the true things that was found."""
        return self.recalled / max(len(self.ious), 1)

    @property
    def precision(self) -> float:
        """Share of the answers that was a true thing."""
        return self.recalled / max(self.answers, 1)


def iou(one: Mask, other: Mask) -> float:
    """Intersection over union of two masks of one size."""
    union = int((one | other).sum())
    return float((one & other).sum() / union) if union else 0.0


def evaluate(
    folder: Path, *, count: int = 200, threshold: float = 0.5, seed: int = HELD_OUT
) -> dict[str, float]:
    """Ask about *count* held-out scenes and compute the figures."""
    model = Model(folder)
    texts, boxes, absent = Tally(), Tally(), []
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        scene = scenes.scene(rng, SIDE)
        present = sorted({(thing.colour, thing.shape) for thing in scene.things})
        concepts = [Concept(colour=colour, shape=shape) for colour, shape in present]
        wrong = absent_concepts(rng, scene)
        exemplars = [next(t for t in scene.things if t.fits(c)) for c in concepts]
        answers = model.answer(
            Image.fromarray(scene.image),
            [Question(text=c.text) for c in [*concepts, Concept(), *wrong]]
            + [Question(text=vocabulary.BOX_ONLY, box=box_of(t.mask)) for t in exemplars],
            threshold,
        )
        for concept, found in zip([*concepts, Concept()], answers, strict=False):
            texts.add(found, [thing.mask for thing in scene.things if thing.fits(concept)])
        absent += [bool(found) for found in answers[len(concepts) + 1 :][: len(wrong)]]
        for concept, found in zip(concepts, answers[-len(concepts) :], strict=True):
            boxes.add(found, [thing.mask for thing in scene.things if thing.fits(concept)])
    return {
        "mean_iou": texts.mean_iou,
        "recall": texts.recall,
        "precision": texts.precision,
        "absent_fires": float(np.mean(absent)),
        "absent_fires_hard": float(np.mean(absent[1::2])),
        "box_mean_iou": boxes.mean_iou,
        "box_recall": boxes.recall,
        "box_precision": boxes.precision,
        "scenes": count,
        "things": len(texts.ious),
        "threshold": threshold,
    }


def absent_concepts(rng: np.random.Generator, scene: scenes.Scene) -> list[Concept]:
    """Choose two absent pairs: any one, and one that shares a colour or shape with a thing."""
    missing = [c for c in vocabulary.every_pair() if not any(t.fits(c) for t in scene.things)]
    near = [
        c for c in missing if any(c.colour == t.colour or c.shape == t.shape for t in scene.things)
    ]
    near = near or missing
    return [missing[rng.integers(len(missing))], near[rng.integers(len(near))]]


def missed(figures: dict[str, float]) -> list[str]:
    """Name the targets that the figures do not meet."""
    return [name for name, (low, high) in TARGETS.items() if not low <= figures[name] <= high]


def table(figures: dict[str, float]) -> Table:
    """Show the figures beside their targets."""
    grid = Table("figure", "value", "target", "")
    for name, value in figures.items():
        low, high = TARGETS.get(name, (None, None))
        target = "" if low is None else f"≥ {low}" if high == 1.0 else f"≤ {high}"
        verdict = "" if low is None else "missed" if name in missed(figures) else "met"
        grid.add_row(name, f"{value:.3f}", target, verdict)
    return grid


def main(arguments: Iterable[str] | None = None) -> int:
    """Print the table; 0 when every target is met, else 1."""
    parser = argparse.ArgumentParser(prog="python -m ai.evaluate", description=__doc__)
    parser.add_argument("folder", type=Path, help="a checkpoint folder")
    parser.add_argument("--scenes", type=int, default=200, help="held-out scenes (default 200)")
    parser.add_argument("--threshold", type=float, default=0.5)
    options = parser.parse_args(None if arguments is None else list(arguments))
    torch.set_num_threads(1)
    figures = evaluate(options.folder, count=options.scenes, threshold=options.threshold)
    Console().print(table(figures))
    return 1 if missed(figures) else 0


if __name__ == "__main__":
    sys.exit(main())
