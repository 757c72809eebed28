"""`python mask_peak.py MASK_BYTES ORDERS PROMPTS TILES`: MiB by which the process grew."""

import asyncio
import resource
import sys
from threading import Event

from PIL import Image
from wide_detector import WideDetector

from contracts.prompts import Prompt, SegmentOptions
from pipeline.errand import Errand
from pipeline.lane import Lane
from pipeline.sam3 import Sam3Segmenter
from pipeline.sam3_order import Sam3Order


#: Threads beside the model's.
_SIDE = 2


def peak() -> int:
    """The most MiB that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


async def main(mask_bytes: int, orders: int, prompts: int, tiles: int) -> None:
    """Ask everything at once, with side threads that are late; then outline what is left."""
    segmenter = Sam3Segmenter(detector=WideDetector(), chunk_bytes=2**20, mask_bytes=mask_bytes)
    lane, picture = Lane(side_threads=_SIDE), Image.new("RGB", (96, 72))

    async def find(prompts: int, options: SegmentOptions) -> Sam3Order:
        asked = tuple(Prompt(text=f"thing {number}") for number in range(prompts))
        order = segmenter.prepare(picture, asked, options, Errand())
        await lane.find(segmenter, order)
        return order

    async def trace(order: Sam3Order) -> int:
        found = await lane.beside(lambda: segmenter.trace(order))
        return sum(len(one.instances) for one in found)

    await trace(await find(1, SegmentOptions(floor=0)))
    # On quick side threads no mask would wait, and no bound be needed.
    go_on, before = Event(), peak()
    late = [asyncio.ensure_future(lane.beside(go_on.wait)) for _ in range(_SIDE)]
    options = SegmentOptions(floor=0, threshold=0, tiles=tiles)
    found = await asyncio.gather(*(find(prompts, options) for _ in range(orders)))
    go_on.set()
    await asyncio.gather(*late)
    assert all([await trace(order) for order in found])
    lane.close()
    sys.stdout.write(str(peak() - before))


asyncio.run(main(*map(int, sys.argv[1:])))
