"""Say what weights are, without loading them: kind, size, type, revision, licence."""

from collections import Counter
from pathlib import Path
from typing import Final

from ai.weights import contents
from pipeline.model import revision, weights
from pipeline.model.backends import LITE_TEXT, SAM3
from pipeline.model.weights import Checkpoint


_LICENCES: Final = {
    SAM3.name: "Meta's SAM License (facebook/sam3 is gated: accept it there; it binds copies too)",
    LITE_TEXT.name: "a derivative of SAM3: Meta's SAM License, and what its repository adds",
}

_TINY: Final = "none to accept: trained on this machine, on drawn shapes, by this repository"


def describe(path: Path) -> dict[str, str | int | bool]:
    """
    Give the facts about the weights at *path*.

    Raises:
        WeightsUnavailable: there are none.

    """
    from ai import cache

    checkpoint = weights.locate(path)
    there = contents.headers(checkpoint)
    kinds = Counter(one.dtype for one in there.values())
    return {
        "model_type": checkpoint.backend.name,
        "layout": "Meta's sam3.pt" if checkpoint.meta else "transformers",
        "demo": checkpoint.demo,
        "parameters": sum(one.count for one in there.values()),
        "weights": len(there),
        "dtype": kinds.most_common(1)[0][0] if kinds else "none",
        "revision": revision.revision(checkpoint.files, cache_dir=cache.root()),
        "bytes": sum(file.stat().st_size for file in checkpoint.files),
        "files": ", ".join(file.name for file in checkpoint.files),
        "picture_side": int(contents.configuration(checkpoint).image_size),
        "licence": _licence(checkpoint),
    }


def _licence(checkpoint: Checkpoint) -> str:
    """Say what binds who uses these weights."""
    return _TINY if checkpoint.demo else _LICENCES[checkpoint.backend.name]
