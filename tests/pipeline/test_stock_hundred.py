"""A hundred random pictures and prompts: whichever way through, the masks are the stock ones."""

import copy
from pathlib import Path

import pytest
import torch

from bench.pipeline import equality, models
from bench.pipeline.equality import RandomRequest
from bench.pipeline.plain import Plain


PICTURES = 100


@pytest.fixture(scope="module")
def loaded(checkpoint: Path) -> models.Loaded:
    """The random model, which both sides use."""
    return models.load(checkpoint, "cpu")


@pytest.fixture(scope="module")
def asked() -> list[RandomRequest]:
    """Always the same ones, so that a failure can be looked at."""
    return equality.random_requests(PICTURES)


def test_the_random_requests_are_of_every_kind(asked: list[RandomRequest]) -> None:
    """Texts, boxes to find and to leave out, and texts with either: or less is proven below."""
    kinds = [equality.kind(prompt) for one in asked for prompt in one.prompts]
    for kind in ("text", "positive", "negative", "text and positive", "text and negative"):
        assert kinds.count(kind) >= 3
    assert kinds.count("text and positive and negative") >= 3
    assert any(len(one.prompts) == 4 for one in asked)


@pytest.mark.parametrize("chunk_bytes", [2**28, 1], ids=["at once", "in the smallest chunks"])
def test_batched_shared_and_remembered_masks_are_the_stock_ones(
    loaded: models.Loaded, asked: list[RandomRequest], chunk_bytes: int
) -> None:
    """
    Each request shares batches with three others, and is asked twice.

    A pixel that the stock mask decides by less than 1e-5 may fall on either side.
    """
    half = asked[::4] if chunk_bytes == 1 else asked
    ours = equality.segmenter(loaded, chunk_bytes=chunk_bytes)
    compared = list(equality.compare(ours, Plain(loaded), half))
    assert len(compared) == 2 * sum(len(one.prompts) for one in half)
    assert min(one.overlap for one in compared) >= equality.LIMIT
    assert max(one.score_error for one in compared) < 1e-5
    assert max(one.box_error for one in compared) < 0.01
    # What was asked again was remembered, and rows did share batches.
    assert ours.figures["vision_views_total"] == len(half)
    assert ours.figures["heads_rows_total"] > 1.5 * ours.figures["heads_passes_total"]


def test_another_model_fails_the_comparison(
    loaded: models.Loaded, asked: list[RandomRequest]
) -> None:
    """Negative control: heads changed by a hundredth give masks that do not pass for equal."""
    other = copy.deepcopy(loaded.model)
    with torch.no_grad():
        for parameter in other.mask_decoder.parameters():
            parameter.mul_(1 + 0.01 * torch.randn(parameter.shape))
    plain = Plain(models.Loaded(model=other, tokenizer=loaded.tokenizer))
    compared = list(equality.compare(equality.segmenter(loaded), plain, asked[:4]))
    assert min(one.overlap for one in compared) < equality.LIMIT
