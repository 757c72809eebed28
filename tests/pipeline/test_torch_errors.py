"""Memory that ran out is known by all its names, and nothing else is taken for it."""

import pytest
import torch

from pipeline.errors import ModelDied, ModelFailed, OutOfMemory, PipelineError
from pipeline.model import contours as module
from pipeline.model.batching import translated
from pipeline.model.contours import Canvas, trace_contours
from pipeline.model.device import ran_out
from pipeline.model.work_items import View
from s3_sam3.contracts.manifest import Rle


def accelerator(message: str, code: int | None) -> torch.AcceleratorError:
    """An error of the driver, with its number as torch sets it."""
    error = torch.AcceleratorError(message)
    if code is not None:
        error.error_code = code
    return error


FULL = {
    "torch on a GPU": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "an allocation by Python": MemoryError(),
    "the driver": accelerator("CUDA error: out of memory\nCUDA kernel errors might be…", 2),
    "the driver without a number": accelerator("CUDA error: out of memory", None),
    "an older driver": RuntimeError("CUDA error: out of memory"),
    "cuBLAS": RuntimeError(
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"
    ),
    "cuDNN": RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    "cuDNN 9": RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    "torch on a CPU": RuntimeError(
        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory:"
        " you tried to allocate 40000000000000000 bytes. Error code 12 (Cannot allocate memory)"
    ),
}

OTHERS = {
    "a lost GPU": (
        accelerator("CUDA error: an illegal memory access was encountered", 700),
        ModelDied,
    ),
    "a GPU that is gone": (RuntimeError("CUDA error: device-side assert triggered"), ModelDied),
    "cuBLAS on a lost GPU": (
        RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm(…)`"),
        ModelDied,
    ),
    "shapes": (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ModelFailed),
    "a size that is none": (RuntimeError("Storage size calculation overflowed"), ModelFailed),
}


def said(error: Exception) -> type[PipelineError]:
    """What *error* is in our words."""
    with pytest.raises(PipelineError) as caught, translated():
        raise error
    return type(caught.value)


@pytest.mark.parametrize("who", FULL)
def test_memory_that_ran_out_is_known_by_each_of_its_names(who: str) -> None:
    """Where any library ran out, the request is out of memory, and the process lives."""
    assert said(FULL[who]) is OutOfMemory


@pytest.mark.parametrize("who", OTHERS)
def test_no_other_error_is_taken_for_it(who: str) -> None:
    """Negative control: a lost GPU is still lost, and a fault of the model is its own."""
    error, expected = OTHERS[who]
    assert said(error) is expected


def test_what_torch_says_on_this_machine_is_known() -> None:
    """Ten petabytes do not fit; and no others of torch's errors are meant."""
    with pytest.raises(RuntimeError) as caught:
        torch.empty(10**16, dtype=torch.uint8)
    assert ran_out(caught.value)


@pytest.mark.parametrize("who", FULL)
def test_masks_are_halved_when_any_library_has_no_memory(
    who: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Tracing four masks where one fits gives the run lengths of one by one.

    Negative control: any other error is not tried again.
    """
    logits, canvas = torch.randn(4, 8, 8), Canvas(20, 16, View(0, 0, 20, 16))
    expected = trace_contours(logits, canvas, mask_threshold=0.5, chunk_bytes=1)
    whole = module._Edges

    def crowded(error: Exception) -> list[tuple[Rle, int]]:
        def edges(masks: torch.Tensor, canvas: Canvas, cut: float) -> module._Edges:
            if len(masks) > 1:
                raise error
            return whole(masks, canvas, cut)

        monkeypatch.setattr(module, "_Edges", edges)
        return trace_contours(logits, canvas, mask_threshold=0.5, chunk_bytes=2**20)

    assert crowded(FULL[who]) == expected
    with pytest.raises(RuntimeError, match="shapes"):
        crowded(OTHERS["shapes"][0])
