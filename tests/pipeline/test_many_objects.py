"""A picture with more objects than one look can find: tiles find them all, each once."""

import numpy as np
import pytest
import torch

from pipeline.model import postprocess
from pipeline.model.work_items import View, views
from s3_sam3.contracts.manifest import PromptResult
from s3_sam3.contracts.prompts import SegmentOptions
from s3_sam3.imaging import rle


WIDTH, HEIGHT = 2000, 1500
CELLS = 144


def objects() -> np.ndarray:
    """500 discs and five that are many times as large: middle x, middle y, radius in pixels."""
    random = np.random.default_rng(0)
    x, y = np.meshgrid(np.arange(25) * 80 + 40, np.arange(20) * 75 + 35)
    middles = np.stack([x.ravel(), y.ravel()], axis=1) + random.uniform(-12, 12, (500, 2))
    small = np.column_stack([middles, random.uniform(9, 16, 500)])
    large = [[n * 330 + 300, 700 + 40 * (-1) ** n, 150] for n in range(5)]
    return np.vstack([small, large])


def looked(things: np.ndarray, view: View, seed: int, options: SegmentOptions) -> postprocess.Kept:
    """What a perfect model says of one view: it draws what the view shows, 200 things at most."""
    shown = things[_shown(things, view)]
    x, y, radius = (torch.from_numpy(column).float()[:, None, None] for column in shown.T)
    columns = view.left + (torch.arange(CELLS) + 0.5) * view.width / CELLS
    rows = view.top + (torch.arange(CELLS) + 0.5) * view.height / CELLS
    boxes = torch.cat([x - radius, y - radius, x + radius, y + radius], dim=1)[..., 0]
    # The large ones are easy, the others are seen now better, now worse.
    luck = torch.rand(len(shown), generator=torch.Generator().manual_seed(seed)) * 3 + 0.5
    return postprocess.keep(
        id_="p0",
        text="disc",
        logits=luck.where(radius.flatten() < 100, 4.0),
        presence_logit=torch.tensor([5.0]),
        boxes=(boxes - torch.tensor([view.left, view.top] * 2))
        / torch.tensor([view.width, view.height] * 2),
        masks=radius - ((columns - x) ** 2 + (rows[:, None] - y) ** 2).sqrt(),
        threshold=None,
        lowest=min(options.threshold, options.floor),
        view=view,
    )


def _shown(things: np.ndarray, view: View) -> np.ndarray:
    """Which things a view shows at least a few pixels of: (n,)."""
    nearest = things[:, :2].clip([view.left, view.top], [view.right, view.bottom])
    away = np.hypot(*(nearest - things[:, :2]).T)
    return away < things[:, 2] - 3


def found(things: np.ndarray, options: SegmentOptions) -> PromptResult:
    """All views, merged and chosen."""
    looks = views(WIDTH, HEIGHT, options)
    kept = tuple(looked(things, view, seed, options) for seed, view in enumerate(looks))
    [result] = postprocess.trace(
        (kept,), width=WIDTH, height=HEIGHT, options=options, chunk_bytes=2**26
    )
    return result


def counted(result: PromptResult, things: np.ndarray) -> np.ndarray:
    """How many instances have each thing's size and lie over its middle: (n,)."""
    counts = np.zeros(len(things), int)
    x, y, radius = things.T
    middles = x.astype(int) * HEIGHT + y.astype(int)
    for instance in result.instances:
        within = np.searchsorted(rle.flips(instance.rle), middles, side="right") % 2 == 1
        shares = instance.area / (np.pi * radius**2)
        counts += within & (shares > 0.5) & (shares < 2)
    return counts


def test_one_look_finds_two_hundred_and_says_that_there_are_more() -> None:
    """Negative control: without tiles the rest is missing."""
    result = found(objects(), SegmentOptions())
    assert len(result.instances) == 200
    assert result.truncated


@pytest.mark.parametrize("tiles", [2, 4])
def test_tiles_find_each_object_once(tiles: int) -> None:
    """Small ones in tiles, large ones in the whole; none twice, though tiles overlap."""
    things = objects()
    options = SegmentOptions(tiles=tiles, max_instances=1000)
    result = found(things, options)
    counts = counted(result, things)
    assert counts.max() == 1
    assert len(result.instances) == counts.sum()
    assert counts.min() == 1
    assert not result.truncated
