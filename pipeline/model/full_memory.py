"""Which errors say that memory ran out, on the GPU or beside it: torch has no one word for it."""

import re
from typing import Final

import torch


#: cudaErrorMemoryAllocation: the driver had no memory, and the GPU is as it was.
_CUDA_OUT_OF_MEMORY: Final = 2

#: What cuBLAS, cuDNN and cuSOLVER say, the CPU's allocator (two systems' words), and the driver.
_WORDS: Final = re.compile(
    r"_ALLOC(ATION)?_FAILED"
    r"|Allocator: (can't allocate|not enough) memory"
    r"|CUDA (error: )?out of memory"
)

#: What torch raises where memory may have run out; `ran_out` says whether it did.
ERRORS: Final = (MemoryError, RuntimeError)


def ran_out(error: BaseException) -> bool:
    """Whether *error* says that memory ran out, and nothing else is wrong."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    if isinstance(error, torch.AcceleratorError) and _code(error) is not None:
        return _code(error) == _CUDA_OUT_OF_MEMORY
    return isinstance(error, RuntimeError) and _WORDS.search(str(error)) is not None


def _code(error: BaseException) -> int | None:
    """CUDA's number of the error, where torch tells it."""
    code: int | None = getattr(error, "error_code", None)
    return code
