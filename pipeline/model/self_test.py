"""
Asks the loaded model about one picture with a known answer, before it may serve.

Weights can load without an error and still be wrong: damaged in transfer, of another model with the
same shapes, converted badly, or computed on a faulty GPU. A worker with such a model would claim
every task and complete it with nonsense. The code draws the picture, so no file can be missing or
wrong.
"""

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pipeline.errors import SelfTestFailed
from pipeline.model import preprocess
from pipeline.model.detector import Detector, Raw
from pipeline.settings import SelfTest


TEXT: Final = "red circle"

#: Least overlap (IoU) of the best mask with the circle that was drawn.
LEAST_OVERLAP: Final = 0.5

#: Least score of that mask: half of the default threshold, since the test is for broken models,
#: not for weak ones.
LEAST_SCORE: Final = 0.25

#: Pixels to a side of the picture; the circle and the square as left, top, right, bottom.
_SIDE: Final = 448
_CIRCLE: Final = (60, 90, 200, 230)
_SQUARE: Final = (270, 240, 390, 360)

#: Pixels drawn for each pixel of the picture, so that edges are smooth.
_FINER: Final = 4


def golden_picture() -> Image.Image:
    """Draw a red circle and a blue square on plain grey."""
    return _draw("RGB", (110, 112, 108), circle=(212, 42, 40), square=(44, 80, 214))


def golden_mask(cells: int) -> NDArray[np.bool_]:
    """Give the circle's true mask, (cells, cells), as the model samples its masks."""
    whole = _draw("L", 0, circle=255, square=0)
    return np.asarray(whole.resize((cells, cells), Image.Resampling.BOX)) > 127  # noqa: PLR2004 - half


def _draw(
    mode: str, ground: object, *, circle: int | tuple[int, ...], square: int | tuple[int, ...]
) -> Image.Image:
    large = Image.new(mode, (_SIDE * _FINER,) * 2, ground)  # type: ignore[arg-type] # as the mode wants it
    pen = ImageDraw.Draw(large)
    pen.ellipse([place * _FINER for place in _CIRCLE], fill=circle)
    pen.rectangle([place * _FINER for place in _SQUARE], fill=square)
    return large.reduce(_FINER)


def run(detector: Detector, level: SelfTest) -> None:
    """
    Ask *detector* for the red circle. Blocking: one pass of the model.

    Level `finite` requires finite numbers of the right shapes, `picture` also that the circle is
    found; `off` skips the test.

    Raises:
        SelfTestFailed: the message says what is wrong and what to do.

    """
    if level == "off":
        return
    raw = _ask(detector)
    _check_finite(raw)
    if level == "picture":
        _check_found(raw)


def _ask(detector: Detector) -> Raw:
    """One pass over the golden picture."""
    with torch.inference_mode():
        square = preprocess.to_square(golden_picture(), detector.side)
        features = detector.see(square[None])
        [(text, mask)] = detector.read([TEXT])
        return detector.detect(features, text[None], mask[None], None, None)


def _check_finite(raw: Raw) -> None:
    rows, queries = raw.logits.shape
    cells = raw.masks.shape[-1]
    wanted = {
        "presence": (rows, 1),
        "boxes": (rows, queries, 4),
        "masks": (rows, queries, cells, cells),
    }
    for name, value in raw._asdict().items():
        if tuple(value.shape) != wanted.get(name, (1, queries)):
            _fail(f"its {name} have the shape {tuple(value.shape)}")
        if not bool(value.isfinite().all()):
            _fail(f"its {name} are not finite numbers")


def _check_found(raw: Raw) -> None:
    """Compare the best query's mask with the circle."""
    scores = (raw.logits[0].float().sigmoid() * raw.presence[0].float().sigmoid()).cpu()
    best = int(scores.argmax())
    score, overlap = float(scores[best]), _overlap(raw.masks[0, best])
    if score < LEAST_SCORE or overlap < LEAST_OVERLAP:
        _fail(
            f'"{TEXT}" was found with score {score:.2f} (at least {LEAST_SCORE}) and overlap'
            f" {overlap:.2f} (at least {LEAST_OVERLAP})"
        )


def _overlap(mask: torch.Tensor) -> float:
    """Overlap (IoU) of mask logits (c, c) with the circle."""
    found = (mask > 0).cpu().numpy()
    truth = golden_mask(mask.shape[-1])
    return float((found & truth).sum() / max((found | truth).sum(), 1))


def _fail(what: str) -> None:
    message = (
        f"The model failed its self-test on a drawn picture: {what}. Check the weights with"
        " `s3 weights verify`, fetch them again if they are damaged, and try SAM3_DTYPE=float32 and"
        " SAM3_COMPILE=off. SAM3_SELF_TEST=finite lets a model serve that never learned such"
        " shapes."
    )
    raise SelfTestFailed(message)
