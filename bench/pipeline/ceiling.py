"""The most operations a device can do, and the share of them that the model reaches."""

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import torch

from bench.pipeline.bare import Bare


_SIDE: Final = {"cuda": 8192, "cpu": 2048}
_ROUNDS: Final = 10


def matmul_tflops(device: torch.device, dtype: torch.dtype) -> float:
    """Multiply large square matrices; the best round, in TFLOP/s."""
    side = _SIDE[device.type]
    one, other = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    seconds = min(_seconds(lambda: one @ other, device) for _ in range(_ROUNDS))
    return 2 * side**3 / seconds / 1e12


def achieved(bare: Bare, squares: torch.Tensor, texts: Sequence[str]) -> dict[str, float]:
    """
    Count and time the model's operations over *squares* and *texts*; compare with the ceiling.

    On a CPU torch counts no operations of fused attention; the count is too low there.
    """
    from torch.utils.flop_counter import FlopCounterMode

    device = bare.detector.device
    counter = FlopCounterMode(display=False)
    with counter:
        bare.run(squares, texts)
    tera = counter.get_total_flops() / 1e12
    seconds = min(_seconds(lambda: bare.run(squares, texts), device) for _ in range(3))
    bfloat16 = bare.detector.info.dtype == "bfloat16"
    # The heads run in float32 and are counted alike: they are a few hundredths of all.
    top = matmul_tflops(device, torch.bfloat16 if bfloat16 else torch.float32)
    return {
        "tflop": round(tera, 3),
        "seconds": round(seconds, 4),
        "tflops_achieved": round(tera / seconds, 2),
        "tflops_of_a_matmul": round(top, 2),
        "share_of_the_ceiling": round(tera / seconds / top, 4),
        "peak_memory_mib": round(peak_mib(device), 1),
    }


def peak_mib(device: torch.device) -> float:
    """Most memory that torch has had on a GPU, in MiB; 0 on a CPU."""
    return torch.cuda.max_memory_allocated() / 2**20 if device.type == "cuda" else 0.0


def _seconds(work: Callable[[], Any], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    begun = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begun
