"""The device, its memory, precision, attention and threads; and what torch's errors mean."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import torch

from pipeline.errors import ModelDied, ModelFailed, OutOfMemory, SetupFailed
from pipeline.settings import Attention


if TYPE_CHECKING:
    from transformers import Sam3Model

#: cudaErrorMemoryAllocation: the driver had no memory, and the GPU still works.
_CUDA_OUT_OF_MEMORY: Final = 2

#: Messages of cuBLAS, cuDNN and cuSOLVER, of the CPU allocator on two systems, and of the driver.
_WORDS: Final = re.compile(
    r"_ALLOC(ATION)?_FAILED"
    r"|Allocator: (can't allocate|not enough) memory"
    r"|CUDA (error: )?out of memory"
)

#: Errors that may mean that memory ran out; `ran_out` decides.
MEMORY_ERRORS: Final = (MemoryError, RuntimeError)


def ran_out(error: BaseException) -> bool:
    """Whether *error* means that memory ran out, on the GPU or on the host, and nothing else."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    if isinstance(error, torch.AcceleratorError):
        code: int | None = getattr(error, "error_code", None)
        if code is not None:
            return code == _CUDA_OUT_OF_MEMORY
    return isinstance(error, RuntimeError) and _WORDS.search(str(error)) is not None


@contextmanager
def translated() -> Iterator[None]:
    """Turn torch's errors into the pipeline's; no other place knows both."""
    try:
        yield
    except MEMORY_ERRORS as error:
        if ran_out(error):
            raise OutOfMemory from error
        if isinstance(error, torch.AcceleratorError):
            raise ModelDied from error
        # cuBLAS and cuDNN report a lost device as a plain RuntimeError.
        if "CUDA error" in str(error):
            raise ModelDied from error
        raise ModelFailed from error


#: A model with fewer parameters has no work for a second thread. SAM3 has 840 million.
_SMALL: Final = 20_000_000


def choose(name: str) -> torch.device:
    """
    Say which device `SAM3_DEVICE` means on this machine.

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


def set_attention(attention: Attention, model: "Sam3Model") -> None:
    """Choose the code that computes attention; `auto` is transformers' choice, torch's sdpa."""
    if attention != "auto":
        model.set_attn_implementation(attention)


def occupy(device: torch.device, model: "Sam3Model") -> "Sam3Model":
    """
    Move the model to *device*, and set the calling thread up to work with it.

    Raises:
        SetupFailed: the model does not fit.

    """
    if device.type == "cpu":
        _limit_threads(model)
        return model
    if device.index is not None:
        # The current device is the thread's; without this, torch also takes memory on GPU 0.
        torch.cuda.set_device(device)
    try:
        moved: Sam3Model = model.to(device)
    except MEMORY_ERRORS as error:
        if not ran_out(error):
            raise
        free, whole = (part // 2**20 for part in torch.cuda.mem_get_info(device))
        message = (
            f"The weights do not fit on {device}: {free} of {whole} MiB are free. End what else"
            " runs on it (`nvidia-smi` lists it), or choose another with SAM3_DEVICE."
        )
        raise SetupFailed(message) from error
    return moved


def memory_mb(device: torch.device) -> int:
    """Give the GPU's memory in MiB, used or not; 0 for a CPU."""
    if device.type != "cuda":
        return 0
    return int(torch.cuda.get_device_properties(device).total_memory) // 2**20


def _limit_threads(model: "Sam3Model") -> None:
    """
    Run a small model on one thread.

    Measured with the tiny model on two busy cores: one pass takes 8 ms on one thread and 1200 ms
    on two, which wait for each other at every layer.
    """
    if sum(parameter.numel() for parameter in model.parameters()) < _SMALL:
        torch.set_num_threads(1)


@contextmanager
def one_core() -> Iterator[None]:
    """
    Let this thread compute without helpers: torch counts its threads for each caller separately.

    Contour tracing is many small steps. With helpers, beside a model that keeps every core busy,
    288 x 288 cells of noise took 33 ms instead of 11.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
