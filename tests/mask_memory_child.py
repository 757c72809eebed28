"""`python mask_memory_child.py MASK_BYTES`: MiB that two requests of five views take."""

import asyncio
import os
import sys
from threading import Event

from fake_detector import FakeDetector
from PIL import Image
from process_table import peak

from pipeline.model.executor import ModelExecutor
from pipeline.model.sam3 import Sam3Segmenter
from pipeline.model.sam3_request import Sam3Request
from pipeline.model.segmentation_model import RequestContext
from s3_sam3.contracts.prompts import Prompt, SegmentOptions


#: Threads beside the model's.
_SIDE = 2


def held() -> int:
    """The most MiB that this process has held; `ru_maxrss` would count what its parent held."""
    return peak(os.getpid(), "VmHWM") // 2**20


async def main(mask_bytes: int) -> None:
    """Have everything found at once, with side threads that are late; drop what is left."""
    segmenter = Sam3Segmenter(detector=FakeDetector(), chunk_bytes=2**20, mask_bytes=mask_bytes)
    executor, picture = ModelExecutor(side_threads=_SIDE), Image.new("RGB", (96, 72))

    async def find(options: SegmentOptions) -> Sam3Request:
        request = segmenter.prepare(picture, (Prompt(text="thing"),), options, RequestContext())
        await executor.find(segmenter, request)
        return request

    first = await find(SegmentOptions(floor=0))
    assert await executor.beside(lambda: segmenter.trace(first))
    # On quick side threads no mask would wait, and no bound be needed.
    go_on, before = Event(), held()
    late = [asyncio.ensure_future(executor.beside(go_on.wait)) for _ in range(_SIDE)]
    options = SegmentOptions(floor=0, tiles=2)
    for found in await asyncio.gather(*(find(options) for _ in range(2))):
        found.context.abandon()
    go_on.set()
    await asyncio.gather(*late)
    executor.close()
    sys.stdout.write(str(held() - before))


asyncio.run(main(int(sys.argv[1])))
