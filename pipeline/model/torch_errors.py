"""What torch's errors mean: out of memory, a lost GPU, or a model that failed."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch

from pipeline.errors import ModelDied, ModelFailed, OutOfMemory


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
