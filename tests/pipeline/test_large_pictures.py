"""Several of the largest pictures at once, drawn: the server stays within what it may take."""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import aiohttp
from PIL import Image
from pipeline_client import Log, command
from process_table import peak
from random_sam3 import KEY

from pipeline.server.admission import DRAWING_BYTES, LARGEST
from s3_sam3.contracts import limits
from s3_sam3.contracts import pipeline as contract
from s3_sam3.contracts.prompts import Prompt, SegmentOptions


SIDE = 7000
MEGABYTE = 1_000_000

#: Pictures that may be decoded at once, and children that decode them.
PICTURES, DECODERS = 2, 2

#: The pictures, what the children hand over with them, one drawing; and bytes that come and go.
BOUND = PICTURES * LARGEST + DECODERS * LARGEST + DRAWING_BYTES * SIDE**2 + 300 * MEGABYTE


@contextmanager
def served(checkpoint: Path, cache: Path, **bounds: int) -> Iterator[tuple[str, int]]:
    """Start the pipeline within *bounds*; its URL and process id."""
    environ = {
        "PATH": os.environ["PATH"],
        "API_SECRET_KEY": KEY,
        "PIPELINE_PORT": "0",
        "SAM3_WEIGHTS_PATH": str(checkpoint),
        "SAM3_SELF_TEST": "finite",
        "SAM3_DEVICE": "cpu",
        "S3_LOG_FORMAT": "json",
    }
    started = command(decoders=DECODERS, side_threads=4, **bounds)
    with subprocess.Popen(started, env=environ, stderr=subprocess.PIPE, text=True) as process:
        log = Log(process)
        try:
            log.line("setup_done")
            yield log.line("pipeline_listening")["url"], process.pid
        finally:
            process.terminate()


async def ask(session: aiohttp.ClientSession, url: str, data: bytes) -> int:
    """Have a picture drawn; the status."""
    # A random model finds noise; tracing it would take memory of its own.
    request = contract.PredictRequest(
        prompts=(Prompt(text="nothing", threshold=1),), options=SegmentOptions(floor=1)
    )
    form = aiohttp.FormData()
    form.add_field("request", request.model_dump_json())
    form.add_field("image", BytesIO(data), filename="x")
    async with session.post(f"{url}/api/v1/predict", data=form) as answer:
        await answer.read()
        return answer.status


async def grown(checkpoint: Path, cache: Path, **bounds: int) -> int:
    """Bytes that the server's memory grew by over four of the largest pictures at once."""
    file = BytesIO()
    Image.new("RGB", (SIDE, SIDE), "teal").save(file, "JPEG")
    headers = {contract.API_KEY_HEADER: KEY}
    with served(checkpoint, cache, **bounds) as (url, pid):
        before = peak(pid, "VmHWM")
        async with aiohttp.ClientSession(headers=headers) as session:
            asked = (ask(session, url, file.getvalue()) for _ in range(4))
            assert await asyncio.gather(*asked) == [200] * 4
        return peak(pid, "VmHWM") - before


async def test_large_pictures_are_drawn_within_bounds(checkpoint: Path, tmp_path: Path) -> None:
    """
    Two at once and one of them drawn: four of the largest take no more than that.

    Negative control: with room for all at once they do.
    """
    assert SIDE**2 <= limits.MAX_IMAGE_PIXELS
    few = {"picture_bytes": PICTURES * LARGEST, "drawing_bytes": 1}
    bounded = await grown(checkpoint, tmp_path, **few)
    free = await grown(checkpoint, tmp_path, picture_bytes=2**40, drawing_bytes=2**40)
    assert bounded < BOUND < free, (bounded, BOUND, free)
