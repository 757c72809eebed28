"""The same weights answer the same with no torchvision and with one that does not work."""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image
from random_sam3 import EVERYTHING

from pipeline.errors import ModelFailed
from pipeline.model import torchvision_fallback
from pipeline.model.sam3 import Sam3Segmenter
from pipeline.model.segmentation_model import segment
from s3_sam3.contracts.manifest import PromptResult
from s3_sam3.contracts.prompts import Box, Prompt


#: A torchvision that was built for another torch dies while it is imported.
DIES_AT_IMPORT = "raise RuntimeError('operator torchvision::nms does not exist')\n"

#: Answers a text and a box on the checkpoint given as argument; prints the results as JSON.
ANSWER = """
import json, sys
from PIL import Image
from s3_sam3.contracts.prompts import Box, Prompt, SegmentOptions
from pipeline.server import model_host
from pipeline import settings
from pipeline.model.segmentation_model import segment

given = settings.Settings(
    api_secret_key="k", sam3_weights_path=sys.argv[1], sam3_device="cpu",
    sam3_self_test="finite",
)
segmenter = model_host.open_segmenter(given)
picture = Image.linear_gradient("L").convert("RGB")
prompts = (Prompt(text="a"), Prompt(boxes=(Box(xyxy=(20, 30, 180, 200)),)))
results = segment(segmenter, picture, prompts, SegmentOptions(threshold=0))
print(json.dumps([result.model_dump(mode="json") for result in results]))
"""


def answer(checkpoint: Path, path: Path) -> str:
    """Run ANSWER in a new interpreter that looks in *path* first; give what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ANSWER, str(checkpoint)],
        env={**os.environ, "PYTHONPATH": str(path), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def install(folder: Path, source: str) -> Path:
    """Put a torchvision of this *source* into *folder*, as pip would."""
    (folder / "torchvision").mkdir(parents=True)
    (folder / "torchvision" / "__init__.py").write_text(source)
    info = folder / "torchvision-0.28.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torchvision\nVersion: 0.28.0\n")
    return folder


def close(some: Sequence[PromptResult], others: Sequence[PromptResult]) -> bool:
    """Whether results are equal but for the last digits (another process rounds otherwise)."""
    pairs = [
        (one, other)
        for result, expected in zip(some, others, strict=True)
        for one, other in zip(result.instances, expected.instances, strict=True)
    ]
    return len(pairs) == 16 and all(
        abs(one.score - other.score) < 1e-4
        and all(abs(a - b) < 0.05 for a, b in zip(one.box, other.box, strict=True))
        and abs(one.area - other.area) <= 0.002 * other.area
        for one, other in pairs
    )


def look(segmenter: Sam3Segmenter) -> tuple[PromptResult, ...]:
    """What ANSWER prints, in this process."""
    picture = Image.linear_gradient("L").convert("RGB")
    prompts = (Prompt(text="a"), Prompt(boxes=(Box(xyxy=(20, 30, 180, 200)),)))
    return segment(segmenter, picture, prompts, EVERYTHING)


def test_a_torchvision_that_dies_at_import_changes_nothing(
    checkpoint: Path, segmenter: Sam3Segmenter, tmp_path: Path
) -> None:
    """Texts and boxes are answered as without it."""
    printed = json.loads(answer(checkpoint, install(tmp_path, DIES_AT_IMPORT)))
    assert close([PromptResult.model_validate(one) for one in printed], look(segmenter))


def test_a_torchvision_that_dies_at_use_is_replaced(segmenter: Sam3Segmenter) -> None:
    """
    One that imports, and whose operator fails at the first box, is replaced before that.

    Negative control: left in place it does fail.
    """

    def broken(*_: object) -> None:
        raise NotImplementedError("Could not run 'torchvision::roi_align'")

    plain = look(segmenter)
    sam3 = vars(importlib.import_module("transformers.models.sam3.modeling_sam3"))
    before = sam3["torchvision"]
    try:
        sam3["torchvision"] = SimpleNamespace(ops=SimpleNamespace(roi_align=broken))
        with pytest.raises(ModelFailed):
            look(segmenter)
        assert torchvision_fallback.install()
        assert look(segmenter) == plain
    finally:
        sam3["torchvision"] = before
