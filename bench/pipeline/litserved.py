"""
Contender (b): a LitServe server around the plain example, a process of its own.

    python -m bench.pipeline.litserved PORT WEIGHTS DEVICE WORKERS BATCH THREADS

A request is JSON: the picture in base64, as LitServe's own image examples send it, and prompts.
"""

import base64
import sys
from pathlib import Path
from typing import Any, Final, cast

import litserve  # type: ignore[import-untyped] # publishes no types
import torch
from fastapi import Request, Response
from PIL import Image
from typing_extensions import override

from bench.pipeline.models import load
from bench.pipeline.plain import Plain, opened
from s3_sam3.contracts.prompts import Prompt


BATCH_SECONDS: Final = 0.005
"""How long a batch waits to be filled. Zero would spin on an empty queue."""

_ROWS: Final = 16
"""Rows in one pass, of however many requests."""

Question = tuple[Image.Image, list[Prompt]]


class PlainSam3(litserve.LitAPI):  # type: ignore[misc] # untyped
    """Decode, full passes, stock post-processing, run lengths."""

    def __init__(self, weights: Path, *, batch: int, threads: int) -> None:
        super().__init__(max_batch_size=batch, batch_timeout=BATCH_SECONDS if batch > 1 else 0)
        self._weights = weights
        self._threads = threads

    @override
    def setup(self, device: str) -> None:
        """Load the model in the worker's process."""
        torch.set_num_threads(self._threads)
        self._plain = Plain(load(self._weights, device))

    @override
    def decode_request(self, request: Request) -> Question:
        """Read one request; the annotation makes LitServe pass the body's JSON."""
        asked = cast("dict[str, Any]", request)
        prompts = [Prompt.model_validate(prompt) for prompt in asked["prompts"]]
        return opened(base64.b64decode(asked["image"])), prompts

    @override
    def predict(self, x: Any) -> Any:
        """Answer one request, or a batch of them."""
        return self._many(x) if isinstance(x, list) else self._one(*x)

    def _one(self, picture: Image.Image, prompts: list[Prompt]) -> list[str]:
        """Answer prompt by prompt, as the example does."""
        return [self._plain.rows([(picture, prompt)])[0] for prompt in prompts]

    def _many(self, asked: list[Question]) -> list[list[str]]:
        """All rows of the batch, sixteen in one full pass."""
        rows = [(picture, prompt) for picture, prompts in asked for prompt in prompts]
        parts = [rows[start : start + _ROWS] for start in range(0, len(rows), _ROWS)]
        answers = iter([answer for part in parts for answer in self._plain.rows(part)])
        return [[next(answers) for _ in prompts] for _, prompts in asked]

    @override
    def encode_response(self, output: list[str]) -> Response:
        """Pass JSON text on; FastAPI's own encoder is several times slower."""
        return Response(f"[{','.join(output)}]", media_type="application/json")


def main() -> None:
    """Serve until terminated."""
    port, weights, device, workers, batch, threads = sys.argv[1:]
    api = PlainSam3(Path(weights), batch=int(batch), threads=int(threads))
    server = litserve.LitServer(
        api,
        accelerator=device,
        devices=1,
        workers_per_device=int(workers),
        timeout=False,
        fast_queue=True,
        disable_openapi_url=True,
    )
    server.run(
        host="127.0.0.1",
        port=int(port),
        num_api_servers=1,
        generate_client_file=False,
        log_level="error",
        access_log=False,
    )


if __name__ == "__main__":
    main()
