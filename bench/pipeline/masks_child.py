"""
Post-processing alone, in a process of its own, so that its memory is known.

    python -m bench.pipeline.masks_child ours|stock blobs|full|noise COUNT REPEATS

Prints seconds (of each repeat) and the most memory beyond what the inputs take, as JSON. Stock is
timed twice: until its masks are there, and until run lengths are, which ours always gives.
"""

import json
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Final

import torch

from bench.pipeline.plain import run_lengths, stock_post_process
from pipeline.model import postprocess
from pipeline.model.work_items import View
from s3_sam3.contracts.prompts import SegmentOptions


SIDE: Final = 4032
_CELLS: Final = 288
_QUERIES: Final = 200
_CHUNK_BYTES: Final = 268_435_456
"""The setting's default."""


def logits(kind: str, count: int) -> torch.Tensor:
    """Draw (count, 288, 288) mask logits as SAM3's look: blobs, or a worst case."""
    torch.manual_seed(0)
    if kind == "full":
        return torch.full((count, _CELLS, _CELLS), 8.0)
    if kind == "noise":
        return torch.randn(count, _CELLS, _CELLS)
    line = torch.arange(_CELLS) + 0.5
    middle = torch.rand(count, 2, 1, 1) * _CELLS
    y, x = line[:, None] - middle[:, 0], line[None, :] - middle[:, 1]
    # 3 to 15 % of the side across, with a wavy edge that is sharp to a cell or two.
    radius = _CELLS * (0.015 + 0.06 * torch.rand(count, 1, 1))
    waves = torch.randint(2, 9, (count, 1, 1))
    edge = radius * (1 + 0.25 * torch.sin(torch.atan2(y, x) * waves))
    return 4 * (edge - torch.hypot(x, y)).clamp(-4, 4)


def ours(masks: torch.Tensor) -> Callable[[], list[float]]:
    """Keep, trace and choose, as the server does."""
    count = len(masks)
    everywhere = torch.cat([masks, masks.new_full((_QUERIES - count, _CELLS, _CELLS), -8.0)])
    scores = torch.cat([torch.full((count,), 4.0), torch.full((_QUERIES - count,), -8.0)])

    def run() -> list[float]:
        begun = time.perf_counter()
        kept = postprocess.keep(
            id_="p0",
            text="blob",
            logits=scores,
            presence_logit=torch.full((1,), 8.0),
            boxes=torch.rand(_QUERIES, 4),
            masks=everywhere,
            threshold=None,
            lowest=0.25,
            view=View(0, 0, SIDE, SIDE),
        )
        [result] = postprocess.trace(
            ((kept,),),
            width=SIDE,
            height=SIDE,
            options=SegmentOptions(),
            chunk_bytes=_CHUNK_BYTES,
        )
        assert len(result.instances) == count
        return [time.perf_counter() - begun]

    return run


def stock(masks: torch.Tensor) -> Callable[[], list[float]]:
    """Run transformers' post-processing with so many instances over the threshold."""
    post_process = stock_post_process()
    count = len(masks)
    raw = types.SimpleNamespace(
        pred_logits=torch.full((1, count), 4.0),
        presence_logits=torch.full((1, 1), 8.0),
        pred_boxes=torch.rand(1, count, 4),
        pred_masks=masks[None],
    )

    def run() -> list[float]:
        begun = time.perf_counter()
        [found] = post_process(raw, threshold=0.5, mask_threshold=0.5, target_sizes=[(SIDE, SIDE)])
        cut = time.perf_counter()
        run_lengths(found["masks"])
        return [cut - begun, time.perf_counter() - begun]

    return run


def main() -> None:
    """Measure the memory of the first run, and the time of each."""
    who, kind, count, repeats = sys.argv[1:]
    # A server computes beside others; and one thread's times can be compared with each other.
    torch.set_num_threads(1)
    run = {"ours": ours, "stock": stock}[who](logits(kind, int(count)))
    before = _forget_peak()
    with torch.inference_mode():
        times = [run()]
        extra = _memory("VmHWM") - before
        times += [run() for _ in range(int(repeats) - 1)]
    sys.stdout.write(json.dumps({"seconds": times, "extra_bytes": max(extra, 0)}))


def _forget_peak() -> int:
    """Reset the high-water mark (Linux); give the memory in use."""
    Path("/proc/self/clear_refs").write_text("5")
    return _memory("VmRSS")


def _memory(name: str) -> int:
    """Read a figure of this process, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    kibibytes = next(line.split()[1] for line in lines if line.startswith(f"{name}:"))
    return 1024 * int(kibibytes)


if __name__ == "__main__":
    main()
