"""A model whose answer to a drawn picture is wrong does not serve."""

from pathlib import Path
from typing import Any

import pytest
import torch
from open_detectors import open_detector

from ai import train_tiny
from pipeline.errors import SelfTestFailed
from pipeline.model import self_test
from pipeline.model.detector import Raw
from s3_sam3.contracts.manifest import ModelInfo


CELLS = 32


class Painter:
    """A backend of three lines: it knows the golden picture by heart, unless it is spoiled."""

    info = ModelInfo(
        name="painter", revision="", dtype="float32", device="cpu", code_version="", demo=True
    )
    device = torch.device("cpu")
    side = 56

    def __init__(self, **spoiled: torch.Tensor) -> None:
        """Answer right but for these parts."""
        circle = torch.from_numpy(self_test.golden_mask(CELLS)).float() * 20 - 10
        right = Raw(
            logits=torch.tensor([[-9.0, 3.0]]),
            presence=torch.tensor([[3.0]]),
            boxes=torch.rand(1, 2, 4),
            masks=torch.stack([-circle, circle])[None],
        )
        self.raw = right._replace(**spoiled)

    def see(self, squares: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Three maps of nothing."""
        assert squares.shape == (1, 3, self.side, self.side)
        return (squares, squares, squares)

    def read(self, texts: list[str]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """No meaning."""
        return [(torch.zeros(32, 8), torch.ones(32)) for _ in texts]

    def check(self, text: str) -> None:
        """Take any."""

    def detect(self, *_: Any) -> Raw:
        """The golden answer."""
        return self.raw

    def forget(self) -> None:
        """Nothing is remembered."""


def test_a_right_answer_passes() -> None:
    """At both levels; the golden circle covers what a circle of its size covers."""
    self_test.run(Painter(), "picture")
    self_test.run(Painter(), "finite")
    share = self_test.golden_mask(448).mean()
    assert share == pytest.approx(3.14159 * 70**2 / 448**2, rel=0.01)


@pytest.mark.parametrize(
    ("spoiled", "said"),
    [
        ({"logits": torch.tensor([[3.0, -9.0]])}, "overlap 0.00"),
        ({"presence": torch.tensor([[-9.0]])}, "score 0.00"),
        ({"masks": torch.full((1, 2, CELLS, CELLS), -9.0)}, "overlap 0.00"),
    ],
)
def test_a_circle_that_is_not_found_fails_the_picture_only(
    spoiled: dict[str, torch.Tensor], said: str
) -> None:
    """Another query, a concept that does not occur, an empty mask; `finite` lets each pass."""
    with pytest.raises(SelfTestFailed, match=said) as caught:
        self_test.run(Painter(**spoiled), "picture")
    assert "s3 weights verify" in caught.value.message
    self_test.run(Painter(**spoiled), "finite")


@pytest.mark.parametrize(
    ("spoiled", "said"),
    [
        ({"boxes": torch.full((1, 2, 4), torch.nan)}, "boxes are not finite"),
        ({"masks": torch.full((1, 2, CELLS, CELLS), torch.inf)}, "masks are not finite"),
        ({"masks": torch.zeros(1, 3, CELLS, CELLS)}, "masks have the shape"),
        ({"presence": torch.zeros(2, 1)}, "presence have the shape"),
    ],
)
def test_numbers_that_are_none_fail_always(spoiled: dict[str, torch.Tensor], said: str) -> None:
    """NaN, infinity and shapes that do not fit fail at both levels; `off` asks nothing."""
    for level in ("picture", "finite"):
        with pytest.raises(SelfTestFailed, match=said):
            self_test.run(Painter(**spoiled), level)  # type: ignore[arg-type] # a literal of both
    self_test.run(Painter(**spoiled), "off")


def test_random_weights_fail_the_picture(checkpoint: Path, lite_text_checkpoint: Path) -> None:
    """Negative control with real models: their numbers are finite and mean nothing."""
    for folder in (checkpoint, lite_text_checkpoint):
        detector = open_detector(folder)
        self_test.run(detector, "finite")
        with pytest.raises(SelfTestFailed, match='"red circle" was found with'):
            self_test.run(detector, "picture")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_trained_demo_model_passes(dtype: str) -> None:
    """The tiny model finds the circle, if it was trained on this machine already."""
    folder = train_tiny.tiny_model_dir()
    if not train_tiny.is_complete(folder):
        pytest.skip("the demo model is not trained here: make train-tiny")
    self_test.run(open_detector(folder, dtype=dtype), "picture")
