"""The model alone: squares and encoded texts in, raw answers out, in batches of our size."""

from collections.abc import Sequence
from typing import Final

import torch

from bench.pipeline.models import Loaded
from bench.pipeline.plain import opened
from pipeline.model import preprocess
from pipeline.model.detector import Sam3Detector
from pipeline.model.sam3 import rows_at_once
from s3_sam3.contracts.manifest import ModelInfo


VIEWS: Final = {"cuda": 4, "cpu": 1}
"""Pictures in one vision pass, as pipeline/vision.py has it."""


class Bare:
    """The model without a pipeline: the upper bound of any."""

    def __init__(self, loaded: Loaded, *, dtype: str) -> None:
        device = loaded.model.device
        info = ModelInfo(
            name="sam3",
            revision="random",
            dtype=dtype,
            device=str(device),
            code_version="bench",
            demo=False,
        )
        self.detector = Sam3Detector(model=loaded.model, tokenizer=loaded.tokenizer, info=info)
        self._views = VIEWS[device.type]
        self._rows = rows_at_once(self.detector)

    def prepare(self, images: Sequence[bytes]) -> torch.Tensor:
        """Decode and stretch: (n, 3, side, side) uint8."""
        side = self.detector.side
        return torch.stack([preprocess.to_square(opened(image), side) for image in images])

    @torch.inference_mode()
    def run(self, squares: torch.Tensor, texts: Sequence[str]) -> None:
        """Ask every text about every square. The texts' features are remembered after the first."""
        read = self.detector.read(list(texts))
        for some in torch.split(squares, self._views):
            seen = self.detector.see(some)
            rows = [(place, text) for place in range(len(some)) for text in read]
            for start in range(0, len(rows), self._rows):
                batch = rows[start : start + self._rows]
                places = [place for place, _ in batch]
                self.detector.detect(
                    tuple(_rows(level, places) for level in seen),
                    torch.stack([features for _, (features, _) in batch]),
                    torch.stack([mask for _, (_, mask) in batch]),
                    None,
                    None,
                )
        if squares.shape[0] and self.detector.device.type == "cuda":
            torch.cuda.synchronize()


def _rows(level: torch.Tensor, places: list[int]) -> torch.Tensor:
    if len(set(places)) == 1:
        return level[places[0], None].expand(len(places), -1, -1, -1)
    return level[places]
