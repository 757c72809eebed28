"""`python mask_peak.py MASK_BYTES ORDERS PROMPTS TILES`: MiB by which the process grew."""

import asyncio
import resource
import sys

from PIL import Image
from wide_detector import WideDetector

from contracts.prompts import Prompt, SegmentOptions
from pipeline.errand import Errand
from pipeline.lane import Lane
from pipeline.sam3 import Sam3Segmenter


def peak() -> int:
    """The most MiB that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


async def main(mask_bytes: int, orders: int, prompts: int, tiles: int) -> None:
    """Ask everything at once, then everything together."""
    segmenter = Sam3Segmenter(detector=WideDetector(), chunk_bytes=2**20, mask_bytes=mask_bytes)
    lane, picture = Lane(side_threads=2), Image.new("RGB", (96, 72))
    options = SegmentOptions(floor=0, threshold=0, tiles=tiles)

    async def ask(prompts: int, options: SegmentOptions) -> int:
        asked = tuple(Prompt(text=f"thing {number}") for number in range(prompts))
        order = segmenter.prepare(picture, asked, options, Errand())
        await lane.find(segmenter, order)
        return sum(
            map(len, [one.instances for one in await lane.beside(lambda: segmenter.trace(order))])
        )

    await ask(1, SegmentOptions(floor=0))
    before = peak()
    found = await asyncio.gather(*(ask(prompts, options) for _ in range(orders)))
    lane.close()
    assert all(found)
    sys.stdout.write(str(peak() - before))


asyncio.run(main(*map(int, sys.argv[1:])))
