"""The device that the model runs on: which one, how large, and with how many threads."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import torch

from pipeline.errors import SetupFailed
from pipeline.model import full_memory


if TYPE_CHECKING:
    from transformers import Sam3Model

#: A model with fewer parameters has no work for a second thread. SAM3 has 840 million.
_SMALL: Final = 20_000_000


def choose(name: str) -> torch.device:
    """
    Say which device `SAM3_DEVICE` means here.

    Raises:
        SetupFailed: it asks for a GPU that torch does not see.

    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        message = (
            f"SAM3_DEVICE={name}, but torch {torch.__version__} sees"
            f" {torch.cuda.device_count()} CUDA devices. Install a torch built for this machine's"
            " driver, or set SAM3_DEVICE=auto."
        )
        raise SetupFailed(message)
    return device


def choose_dtype(name: str, device: torch.device) -> str:
    """Say which precision `SAM3_DTYPE` means on *device*: `float32` or `bfloat16`."""
    if name == "auto":
        return "bfloat16" if device.type == "cuda" else "float32"
    return name


def occupy(device: torch.device, model: "Sam3Model") -> "Sam3Model":
    """
    Move the model there, and make the calling thread one that works with this device.

    Raises:
        SetupFailed: the model does not fit.

    """
    if device.type == "cpu":
        _limit_threads(model)
        return model
    if device.index is not None:
        # Of the model's thread, which this is: else each model would take memory on the first GPU.
        torch.cuda.set_device(device)
    try:
        moved: Sam3Model = model.to(device)
    except full_memory.ERRORS as error:
        if not full_memory.ran_out(error):
            raise
        free, whole = (part // 2**20 for part in torch.cuda.mem_get_info(device))
        message = (
            f"The weights do not fit on {device}: {free} of {whole} MiB are free. End what else"
            " runs on it (`nvidia-smi` lists it), or choose another with SAM3_DEVICE."
        )
        raise SetupFailed(message) from error
    return moved


def memory_mb(device: torch.device) -> int:
    """Give the whole memory of a GPU in MiB, whoever uses it; 0 for a CPU."""
    if device.type != "cuda":
        return 0
    return int(torch.cuda.get_device_properties(device).total_memory) // 2**20


def _limit_threads(model: "Sam3Model") -> None:
    """
    Run a small model on one thread.

    Measured with the tiny model on two busy cores: one pass 8 ms on one thread, 1200 ms on two,
    which wait for each other at every layer.
    """
    if sum(parameter.numel() for parameter in model.parameters()) < _SMALL:
        torch.set_num_threads(1)


@contextmanager
def one_core() -> Iterator[None]:
    """
    Leave the other cores to the model's thread: torch counts its threads for each caller's own.

    Outlines are many small steps. With a helper for each of them, beside a model that keeps every
    core busy, 288 x 288 cells of noise took 33 ms instead of 11.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
