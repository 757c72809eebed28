"""Chooses and builds the model that serves, once, in a thread of its own."""

import os
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final

from contracts.manifest import ModelInfo
from pipeline import standin
from pipeline.errors import WeightsUnavailable
from pipeline.segmenter import Segmenter
from pipeline.settings import Settings


if TYPE_CHECKING:
    import torch
    from transformers import Sam3Model

    from pipeline.sam3 import Sam3Segmenter

#: A model with fewer parameters has no work for a second thread. SAM3 has 840 million.
_SMALL: Final = 20_000_000


def open_segmenter(settings: Settings) -> Segmenter:
    """
    Load the model that the settings name. Blocking: seconds to minutes.

    Raises:
        WeightsUnavailable: there is none; the message says what to do.

    """
    # Before any import of torch, so that a stand-in starts at once and needs none.
    if settings.sam3_weights_path == standin.PATH:
        return standin.StandinSegmenter()
    return _open_sam3(settings)


def _open_sam3(settings: Settings) -> "Sam3Segmenter":
    """Load SAM3; on a GPU, run it once."""
    # Read when torch loads. Its threads would spin while they wait, and take the cores away from
    # those that decode and outline.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import torch

    from pipeline import hub, revision, weights
    from pipeline.detector import Sam3Detector
    from pipeline.sam3 import Sam3Segmenter

    token = settings.hf_token.get_secret_value() if settings.hf_token else None
    path = settings.sam3_weights_path
    checkpoint = weights.locate(Path(path).expanduser() if path else hub.fetch(token))
    device = choose_device(settings.sam3_device)
    dtype = settings.sam3_dtype
    if dtype == "auto":
        dtype = "bfloat16" if device.type == "cuda" else "float32"
    model, tokenizer = weights.load(checkpoint)
    if device.type == "cpu":
        _limit_threads(model)
    elif device.index is not None:
        # Of the model's thread, which this is: else each model would take memory on the first GPU.
        torch.cuda.set_device(device)
    info = ModelInfo(
        name="tiny" if checkpoint.demo else "sam3",
        revision=revision.revision(checkpoint.files, cache_dir=settings.s3_cache_dir),
        dtype=dtype,
        device=str(device),
        code_version=metadata.version("s3-sam3"),
        demo=checkpoint.demo,
        memory_mb=memory_mb(device),
    )
    segmenter = Sam3Segmenter(
        detector=Sam3Detector(model=model.to(device), tokenizer=tokenizer, info=info),
        chunk_bytes=settings.pipeline_chunk_bytes,
        gpu_cache_bytes=settings.pipeline_gpu_cache_bytes,
        host_cache_bytes=settings.pipeline_host_cache_bytes,
    )
    if device.type == "cuda":
        warm_up(segmenter)
    return segmenter


def _limit_threads(model: "Sam3Model") -> None:
    """
    Run a small model on one thread.

    Measured with the tiny model on two busy cores: one pass 8 ms on one thread, 1200 ms on two,
    which wait for each other at every layer.
    """
    import torch

    if sum(parameter.numel() for parameter in model.parameters()) < _SMALL:
        torch.set_num_threads(1)


def choose_device(name: str) -> "torch.device":
    """
    Say which device `SAM3_DEVICE` means here.

    Raises:
        WeightsUnavailable: it asks for a GPU that torch does not see.

    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        message = (
            f"SAM3_DEVICE={name}, but torch {torch.__version__} sees"
            f" {torch.cuda.device_count()} CUDA devices. Install a torch built for this machine's"
            " driver, or set SAM3_DEVICE=auto."
        )
        raise WeightsUnavailable(message)
    return device


def memory_mb(device: "torch.device") -> int:
    """Give the whole memory of a GPU in MiB, whoever uses it; 0 for a CPU."""
    import torch

    if device.type != "cuda":
        return 0
    return int(torch.cuda.get_device_properties(device).total_memory) // 2**20


def warm_up(segmenter: "Sam3Segmenter") -> None:
    """Run one grey picture through, so that the first request finds kernels chosen and loaded."""
    from PIL import Image

    from contracts.prompts import Prompt
    from pipeline.segmenter import segment

    segment(segmenter, Image.new("RGB", (64, 64), "grey"), (Prompt(text="object"),))
