"""Detectors opened without the server around them."""

from pathlib import Path

import torch

from pipeline.model import weights
from pipeline.model.detector import Detector, Sam3Detector
from s3_sam3.contracts.manifest import ModelInfo


def open_detector(folder: Path, *, dtype: str = "float32") -> Sam3Detector:
    """Open the backend of a checkpoint on the CPU."""
    checkpoint = weights.locate(folder)
    model, tokenizer = weights.load(checkpoint)
    info = ModelInfo(
        name="random",
        revision="0" * 12,
        backend=checkpoint.backend.name,
        dtype=dtype,
        device="cpu",
        code_version="0",
        demo=False,
    )
    detector = checkpoint.backend.open(model=model, tokenizer=tokenizer, info=info)
    assert isinstance(detector, Sam3Detector)
    return detector


def rows_of(detector: Detector, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """One row per text: features (n, 32, width) and masks (n, 32)."""
    features, masks = zip(*detector.read(texts), strict=True)
    return torch.stack(features), torch.stack(masks)
