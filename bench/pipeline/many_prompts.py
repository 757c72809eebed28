"""Section `prompts`: sixteen prompts on one picture, ours through its server, and the example."""

import statistics
import time
from typing import Final

from bench import report
from bench.pipeline import asking, load
from bench.pipeline.contenders import Server
from bench.pipeline.plain import Plain
from bench.pipeline.section import Part, cell, new_table, spread
from s3_sam3.contracts.limits import MAX_PROMPTS_PER_TASK


OBJECTS: Final = 10
LIMIT: Final = 4.0


async def measure(
    plain: Plain, server: Server, *, name: str, rounds: int, has_target: bool
) -> Part:
    """Take a new picture and new texts each round, so that neither side remembers anything."""
    asked = asking.questions(
        plain.scores,
        count=rounds + 1,
        prompts=MAX_PROMPTS_PER_TASK,
        objects=OBJECTS,
        side=640,
        seed=77,
    )
    mine: list[float] = []
    theirs: list[float] = []
    for number, one in enumerate(asked):
        lap = await load.drive(server, [server.write(one.image, one.request(number))], clients=1)
        begun = time.perf_counter()
        plain.answer(one.image, one.prompts)
        if number:  # the first warms both
            mine.append(lap.seconds)
            theirs.append(time.perf_counter() - begun)
    ratios = [b / a for a, b in zip(mine, theirs, strict=True)]
    table = new_table(
        f"{name}: {MAX_PROMPTS_PER_TASK} prompts on one 640 x 480 picture, {OBJECTS} objects each,"
        " one at a time: median (least to most)",
        *("ours through HTTP, ms", "plain example, ms", "ratio"),
    )
    table.add_row(
        *(cell([1000 * value for value in side]) for side in (mine, theirs)), cell(ratios)
    )
    return Part(
        table=table,
        figures={
            "ours_ms": spread([1000 * value for value in mine]),
            "plain_ms": spread([1000 * value for value in theirs]),
            "ratio": spread(ratios),
        },
        targets=[
            report.Target(
                name=f"{MAX_PROMPTS_PER_TASK} prompts on one picture, over the plain example",
                measured=statistics.median(ratios),
                limit=LIMIT,
                unit="x",
                at_least=True,
            )
        ]
        * has_target,
    )
