"""
Measure each way to compute on this device: ``python -m bench.precision [--quick] [--json FILE]``.

On a GPU the model is SAM3's own size with random weights; on a CPU it is a smaller one, tiny with
`--quick`. All ways are measured in turns, on a CPU by the processor's time on one thread, so that a
busy machine disturbs all of them alike. All answers are compared with the plain one: float32,
nothing compiled.
"""

import argparse
import copy
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from rich.table import Table

from bench.pipeline import models
from bench.report import Target, finish
from pipeline.errors import SetupFailed
from pipeline.model import device as devices
from pipeline.model.compiled import CompiledDetector
from pipeline.model.detector import Detector, Raw, Sam3Detector
from pipeline.settings import Attention, Compile
from s3_sam3.contracts.manifest import ModelInfo


#: Largest difference of any number of the same precision's answers: 0..1 boxes, mask logits.
TOLERANCE: Final = 1e-3

#: A few rows on one picture, as one request has them.
ROWS: Final = {"cuda": 16, "cpu": 4}


@dataclass(slots=True, kw_only=True)
class Way:
    """One way to compute, and what it took."""

    name: str
    dtype: str
    attention: Attention = "auto"
    compile: Compile = "off"
    detector: Detector | None = None
    start_seconds: float = 0.0
    """To shape and compile the model, for these shapes alone, and answer once."""
    failure: str = ""
    see_ms: list[float] = field(default_factory=list)
    """One picture."""
    detect_ms: list[float] = field(default_factory=list)
    """All rows on it."""
    answer: Raw | None = None

    @property
    def ms(self) -> float:
        """One picture with all rows, median of rounds."""
        return statistics.median(self.see_ms) + statistics.median(self.detect_ms)


def ways() -> list[Way]:
    """Each choice alone against the plain way, then what belongs together."""
    return [
        Way(name="plain", dtype="float32"),
        Way(name="attention eager", dtype="float32", attention="eager"),
        Way(name="vision compiled", dtype="float32", compile="vision"),
        Way(name="all compiled", dtype="float32", compile="full"),
        Way(name="bfloat16", dtype="bfloat16"),
        Way(name="bfloat16, all compiled", dtype="bfloat16", compile="full"),
    ]


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m bench.precision", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the tiny model, few rounds")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch._dynamo.config.recompile_limit = 64  # noqa: SLF001 - one process compiles for all ways
    loaded, size = _load(device, quick=options.quick)
    every = ways()
    with torch.inference_mode():
        for way in every:
            _prepare(way, loaded, device)
        running = [way for way in every if not way.failure]
        _measure(running, rounds=5 if options.quick else 11)
    return _report(every, running, device=device, size=size, to=options.json)


def _load(device: torch.device, *, quick: bool) -> tuple[models.Loaded, str]:
    """Choose a model that fits this device."""
    if device.type == "cuda" and not quick:
        return models.full_size("cuda"), "SAM3's own 840 M parameters"
    torch.set_num_threads(1)
    recipe = models.TINY if quick else models.MIDDLE
    with tempfile.TemporaryDirectory() as folder:
        loaded = models.load(models.build(Path(folder), recipe), device.type)
    count = sum(one.numel() for one in loaded.model.parameters())
    return loaded, f"{count / 1e6:.1f} M parameters, {recipe.image_size} px"


def _prepare(way: Way, loaded: models.Loaded, device: torch.device) -> None:
    """Configure and compile a copy of the model, or note why that is not possible."""
    began = time.perf_counter()
    info = ModelInfo(
        name="random",
        revision="0" * 12,
        dtype=way.dtype,
        device=str(device),
        code_version="0",
        demo=False,
    )
    try:
        model = copy.deepcopy(loaded.model)
        devices.set_attention(way.attention, model)
        detector: Detector = Sam3Detector(model=model, tokenizer=loaded.tokenizer, info=info)
        if way.compile != "off":
            detector = CompiledDetector(detector, heads=way.compile == "full")
        way.detector = detector
        _once(way, *_asked(detector))
    except (SetupFailed, ImportError, ValueError) as error:
        way.failure = str(error)
        return
    way.start_seconds = time.perf_counter() - began
    sys.stderr.write(f"{way.name}: ready after {way.start_seconds:.0f} s\n")


def _asked(detector: Detector) -> tuple[torch.Tensor, list[str]]:
    """One picture of noise on the device, and the prompts on it."""
    side = detector.side
    noise = np.random.default_rng(0).integers(0, 256, (1, 3, side, side), np.uint8)
    texts = [f"thing {number}" for number in range(ROWS[detector.device.type])]
    return torch.from_numpy(noise).to(detector.device), texts


def _measure(running: list[Way], *, rounds: int) -> None:
    """Time every way once per round; the first round only warms up."""
    assert running[0].detector is not None
    square, texts = _asked(running[0].detector)
    for number in range(rounds + 1):
        for way in running:
            see, detect = _once(way, square, texts)
            if number:
                way.see_ms.append(see)
                way.detect_ms.append(detect)


def _once(way: Way, square: torch.Tensor, texts: list[str]) -> tuple[float, float]:
    """One picture with all rows, in milliseconds: seeing it, answering."""
    detector = way.detector
    assert detector is not None
    features, see = _timed(lambda: detector.see(square), square.device)
    words, masks = zip(*detector.read(texts), strict=True)
    text, mask = torch.stack(words), torch.stack(masks)
    shared = tuple(one.expand(len(texts), -1, -1, -1) for one in features)
    way.answer, detect = _timed(
        lambda: detector.detect(shared, text, mask, None, None), square.device
    )
    return see, detect


def _timed(run: Callable[[], Any], device: torch.device) -> tuple[Any, float]:
    """The result of *run*, and its milliseconds on the device."""
    if device.type == "cpu":
        began = time.thread_time()
        return run(), (time.thread_time() - began) * 1000
    torch.cuda.synchronize(device)
    began = time.perf_counter()
    given = run()
    torch.cuda.synchronize(device)
    return given, (time.perf_counter() - began) * 1000


def drift(way: Way, plain: Way, side: int) -> dict[str, float]:
    """How far answers are from the plain way's: boxes in pixels of the square, masks as a share."""
    assert way.answer is not None
    assert plain.answer is not None
    boxes = (way.answer.boxes - plain.answer.boxes).abs().max()
    flipped = ((way.answer.masks > 0) != (plain.answer.masks > 0)).float().mean()
    furthest = max(
        float((a - b).abs().max()) for a, b in zip(way.answer, plain.answer, strict=True)
    )
    return {
        "box_px": round(float(boxes) * side, 4),
        "mask_cells_flipped": round(float(flipped), 6),
        "furthest": furthest,
    }


def _report(
    every: list[Way], running: list[Way], *, device: torch.device, size: str, to: Path | None
) -> int:
    """Print the table and the fastest way, and write the figures."""
    plain = running[0]
    assert plain.detector is not None
    rows = ROWS[device.type]
    table = Table(title=f"{size}, random, on {_name(device)}; 1 picture, {rows} prompts")
    for column in ("way", "see ms", f"detect {rows} ms", "all ms", "box px", "start s"):
        table.add_column(column, justify="left" if column == "way" else "right")
    figures: dict[str, Any] = {"device": _name(device), "model": size, "rows": rows, "ways": {}}
    for way in every:
        if way.failure:
            table.add_row(way.name, "-", "-", "-", "-", "-")
            figures["ways"][way.name] = {"failure": way.failure}
            continue
        off = drift(way, plain, plain.detector.side)
        parts = (statistics.median(way.see_ms), statistics.median(way.detect_ms), way.ms)
        table.add_row(
            way.name,
            *(f"{ms:.2f}" for ms in parts),
            f"{off['box_px']:.3f}",
            f"{way.start_seconds:.0f}",
        )
        figures["ways"][way.name] = {
            "see_ms": round(parts[0], 3),
            "detect_ms": round(parts[1], 3),
            "ms": round(parts[2], 3),
            "start_seconds": round(way.start_seconds, 1),
            **off,
        }
    fastest = min(running, key=lambda way: way.ms)
    figures["fastest"] = fastest.name
    figures["fastest_uncompiled"] = min(
        (way for way in running if way.compile == "off"), key=lambda way: way.ms
    ).name
    table.caption = f"fastest: {fastest.name}; without compiling: {figures['fastest_uncompiled']}"
    same = [drift(way, plain, plain.detector.side) for way in running if way.dtype == "float32"]
    target = Target(
        name="every float32 way answers as the plain one: largest difference",
        measured=max(one["furthest"] for one in same),
        limit=TOLERANCE,
        unit="",
    )
    return finish("precision", table=table, targets=[target], figures=figures, to=to)


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"a CPU, {torch.get_num_threads()} threads"


if __name__ == "__main__":
    sys.exit(main())
