"""
Part of `--full-size`: the servers side by side at SAM3's own size.

On a CPU, where a pass takes many seconds, four cases and one request of each; on a GPU the whole
grid. Ours finds the threshold for a known number of objects, since it sees a picture once.
"""

import tempfile
from pathlib import Path
from typing import Final

import torch
from PIL import Image

from bench.pipeline import equality, grid, rivals
from bench.pipeline.grid import Case, Effort
from bench.pipeline.models import Loaded
from bench.pipeline.plain import Plain
from bench.pipeline.section import Part
from s3_sam3.contracts.prompts import Prompt


_CASES: Final = {
    "cpu": (Case(), Case(prompts=4), Case(objects=200), Case(side=4032)),
    "cuda": grid.CASES,
}
_EFFORT: Final = {
    "cpu": Effort(requests=1, least=1, pictures=1, warm=False),
    "cuda": Effort(requests=48),
}


async def measure(loaded: Loaded, device: str) -> Part:
    """Ask ours, the plain example in this process, and LitServe with one worker."""
    choice = rivals.Choice(workers=1, batch=1, rates={})
    with tempfile.TemporaryDirectory(prefix="s3-bench-") as folder:
        loaded.model.save_pretrained(folder)
        loaded.tokenizer.save_pretrained(folder)
        threads = torch.get_num_threads()
        async with rivals.both(Path(folder), device, choice, threads=threads) as (ours, litserve):
            return await grid.measure(
                Plain(loaded),
                ours,
                litserve,
                cases=_CASES[device],
                effort=_EFFORT[device],
                scores=_Scores(loaded),
            )


class _Scores:
    """Every query's score, with one look at each picture."""

    def __init__(self, loaded: Loaded) -> None:
        self._segmenter = equality.segmenter(loaded)

    def __call__(self, picture: Image.Image, prompt: Prompt) -> list[float]:
        asked = equality.RandomRequest(picture=picture, prompts=(prompt,))
        [[found]] = equality.together(self._segmenter, [asked])
        return [instance.score for instance in found.instances]
