"""Candidates whose masks are rectangles, for tests of choosing, merging and drawing."""

import numpy as np
from hypothesis import strategies as st

from s3_sam3.contracts.manifest import Candidate
from s3_sam3.imaging import rle
from s3_sam3.imaging.choose import Found


SIZE = (24, 16)  # width, height in pixels

#: Few scores, so that many are equal.
SCORES = [0.1, 0.25, 0.3, 0.5, 0.6, 0.9]


def rectangle(
    score: float, left: int, top: int, right: int, bottom: int, size: tuple[int, int] = SIZE
) -> Candidate:
    """A rectangle in a picture of width x height."""
    columns = np.zeros((1, *size), np.uint8)
    columns[0, left:right, top:bottom] = 1
    [(lengths, area)] = rle.encode(columns)
    box = (float(left), float(top), float(right), float(bottom))
    return Candidate(score=score, box=box, area=area, rle=lengths)


def found(
    *candidates: Candidate, id_: str = "p0", threshold: float | None = None, more: bool = False
) -> Found:
    """What one prompt found."""
    return Found(
        id=id_,
        text=id_,
        presence=0.9,
        threshold=threshold,
        more=more,
        candidates=candidates,
    )


@st.composite
def rectangles(draw: st.DrawFn) -> Candidate:
    """Any rectangle."""
    left, top = draw(st.integers(0, SIZE[0] - 2)), draw(st.integers(0, SIZE[1] - 2))
    right, bottom = draw(st.integers(left + 1, SIZE[0])), draw(st.integers(top + 1, SIZE[1]))
    return rectangle(draw(st.sampled_from(SCORES)), left, top, right, bottom)


@st.composite
def findings(draw: st.DrawFn, floor: float = 0) -> tuple[Found, ...]:
    """What up to three prompts found."""
    return tuple(
        found(
            *draw(st.lists(rectangles(), max_size=8)),
            id_=f"p{place}",
            threshold=draw(st.none() | st.sampled_from([s for s in SCORES if s >= floor])),
            more=draw(st.booleans()),
        )
        for place in range(draw(st.integers(1, 3)))
    )
