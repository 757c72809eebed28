"""A fake detector with SAM3's number and size of masks."""

import torch

from pipeline.model.detector import Raw
from pipeline.model.vision import Features
from s3_sam3.contracts.manifest import ModelInfo


QUERIES, CELLS = 200, 288

#: Bytes that one row leaves when every query is over the floor.
ROW_BYTES = QUERIES * CELLS**2 * 4


class FakeDetector:
    """Every prompt finds 200 masks, each a square in a corner."""

    def __init__(self) -> None:
        """Run on this machine's CPU."""
        self.info = ModelInfo(
            name="wide", revision="r", dtype="float32", device="cpu", code_version="0", demo=False
        )
        self.device = torch.device("cpu")
        self.side = 64
        self.rows: list[int] = []
        #: Most rows that fit.
        self.most = 1000

    def see(self, squares: torch.Tensor) -> Features:
        """Three maps of nothing."""
        return tuple(torch.zeros(len(squares), 8, cells, cells) for cells in (8, 4, 2))

    def read(self, texts: list[str]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """The last letter of each, in 32 places."""
        return [(torch.full((32, 8), float(ord(one[-1]))), torch.ones(32)) for one in texts]

    def check(self, text: str) -> None:
        """Refuse none."""

    def forget(self) -> None:
        """Hold nothing."""

    def detect(
        self,
        features: Features,
        text: torch.Tensor,
        mask: torch.Tensor,
        boxes: torch.Tensor | None,
        labels: torch.Tensor | None,
    ) -> Raw:
        """200 masks for each row, the text's own; out of memory with more rows than fit."""
        rows = len(text)
        if rows > self.most:
            raise torch.OutOfMemoryError
        self.rows.append(rows)
        masks = torch.full((rows, QUERIES, CELLS, CELLS), -9.0)
        side = text[:, 0, 0].int().tolist()
        for one, cells in zip(masks, side, strict=True):
            one[:, :cells, :cells] = 9
        boxes = (
            torch.linspace(0, 0.5, QUERIES)[:, None].expand(rows, -1, 4) + 0.001 * text[:, :1, :4]
        )
        return Raw(torch.zeros(rows, QUERIES), torch.zeros(rows, 1), boxes, masks)
