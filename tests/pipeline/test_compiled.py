"""Compiled passes answer as the plain ones, and only in shapes that were compiled at boot."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from open_detectors import open_detector, rows_of
from random_sam3 import SIDE

from pipeline import settings
from pipeline.errors import SetupFailed
from pipeline.model import compiled, device
from pipeline.model.compiled import ROWS, CompiledDetector
from pipeline.model.detector import Raw, Sam3Detector
from pipeline.server import model_host


LETTERS = [chr(ord("a") + number) for number in range(6)]

#: Traced, not compiled: the same graphs and guards, without a minute in a C++ compiler.
TRACED: dict[str, Any] = {"backend": "eager", "squares": (1, 2), "rows": (1, 4)}


@pytest.fixture(scope="module")
def plain(checkpoint: Path) -> Sam3Detector:
    """The detector that is compiled."""
    return open_detector(checkpoint)


@pytest.fixture(scope="module")
def warm(plain: Sam3Detector) -> CompiledDetector:
    """All of it compiled, every shape warmed."""
    detector = CompiledDetector(plain, heads=True, **TRACED)
    detector.warm_up()
    return detector


@pytest.fixture(scope="module")
def squares() -> torch.Tensor:
    """Three pictures of noise: more than one compiled pass takes."""
    noise = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (3, 3, SIDE, SIDE), dtype=torch.uint8, generator=noise)


def graphs() -> int:
    """Graphs that were compiled in this process so far."""
    from torch._dynamo.utils import counters

    return int(counters["stats"]["unique_graphs"])


def furthest(one: Any, other: Any) -> float:
    """The largest difference of any number."""
    return max(float((a - b).abs().max()) for a, b in zip(one, other, strict=True))


def ask(detector: Any, features: Any, count: int, plain: Sam3Detector) -> Raw:
    """The first letters on these features."""
    raw: Raw = detector.detect(features, *rows_of(plain, LETTERS[:count]), None, None)
    return raw


@pytest.mark.parametrize("count", [1, 3, 4, 6])
@torch.inference_mode()
def test_any_number_of_rows_equals_the_plain_answer(
    warm: CompiledDetector, plain: Sam3Detector, squares: torch.Tensor, count: int
) -> None:
    """
    Fewer than a compiled size, exactly one, more than the largest; one picture's and many's.

    Nothing is compiled for it: every shape is known from the warm-up.
    """
    before = graphs()
    seen = warm.see(squares)
    assert furthest(seen, plain.see(squares)) < 1e-5
    places = torch.arange(count) % len(squares)
    for features in (
        tuple(one[:1].expand(count, -1, -1, -1) for one in seen),
        tuple(one[places] for one in seen),
    ):
        answer = ask(warm, features, count, plain)
        assert len(answer.logits) == count
        assert furthest(answer, ask(plain, features, count, plain)) < 1e-5
    assert graphs() == before


@torch.inference_mode()
def test_without_padding_each_size_compiles_again(
    warm: CompiledDetector, plain: Sam3Detector, squares: torch.Tensor
) -> None:
    """Negative control: a shape that no warm-up knows costs a new graph."""
    before = graphs()
    warm._see(squares[:3])
    assert graphs() == before + 1


@torch.inference_mode()
def test_only_what_was_asked_for_is_compiled(checkpoint: Path, squares: torch.Tensor) -> None:
    """`vision` leaves the heads as they are; boxes are never compiled."""
    plain = open_detector(checkpoint)  # one whose passes nobody has compiled yet
    before = graphs()
    detector = CompiledDetector(plain, heads=False, **TRACED)
    detector.warm_up()
    assert graphs() - before == len(TRACED["squares"])
    box, label = torch.tensor([[[0.5, 0.5, 0.2, 0.2]]]), torch.ones(1, 1, dtype=torch.long)
    seen = detector.see(squares[:1])
    answers = [one.detect(seen, *rows_of(plain, ["a"]), box, label) for one in (detector, plain)]
    assert furthest(*answers) == 0
    assert graphs() - before == len(TRACED["squares"])


def test_rows_are_split_and_padded_to_few_sizes() -> None:
    """Every row once, in order, in pieces of compiled sizes."""
    for count in range(1, 40):
        pieces = list(compiled.pieces(count, ROWS))
        assert [start for start, _, _ in pieces] == list(range(0, count, ROWS[-1]))
        assert sum(rows for _, rows, _ in pieces) == count
        assert all(rows <= size and size in ROWS for _, rows, size in pieces)


def test_a_machine_that_cannot_compile_says_so(plain: Sam3Detector) -> None:
    """The compiler's error becomes advice."""

    def broken(*_: object) -> Any:
        message = "no C++ compiler found"
        raise RuntimeError(message)

    detector = CompiledDetector(plain, heads=False, backend=broken)
    with pytest.raises(SetupFailed, match=r"no C\+\+ compiler found.*SAM3_COMPILE=off"):
        detector.warm_up()


@pytest.mark.parametrize(("setting", "chosen"), [("eager", "eager"), ("auto", "sdpa")])
def test_the_setting_chooses_attention(
    checkpoint: Path, make_settings: Callable[..., settings.Settings], setting: str, chosen: str
) -> None:
    """SAM3_ATTENTION reaches the model; `auto` is torch's fused attention."""
    given = make_settings(
        sam3_weights_path=str(checkpoint), sam3_device="cpu", sam3_attention=setting
    )
    detector = model_host.open_detector(given)
    assert isinstance(detector, Sam3Detector)
    assert detector._model.vision_encoder.config._attn_implementation == chosen


@torch.inference_mode()
def test_eager_attention_gives_the_same_answer(
    checkpoint: Path, plain: Sam3Detector, squares: torch.Tensor
) -> None:
    """Attention in plain steps differs by rounding only."""
    other = open_detector(checkpoint)
    device.set_attention("eager", other._model)
    features = plain.see(squares[:2])
    seen = other.see(squares[:2])
    assert furthest(seen, features) < 1e-5
    assert furthest(ask(other, seen, 2, plain), ask(plain, features, 2, plain)) < 1e-5
