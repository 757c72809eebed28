"""A re-threshold of several views equals a new run, and the manifest notes missing candidates."""

from collections.abc import Sequence

import pytest
from drawn_candidates import SCORES, rectangle, rectangles
from hypothesis import given
from hypothesis import strategies as st

from s3_sam3.contracts.bodies import RethresholdRequest
from s3_sam3.contracts.manifest import (
    Candidate,
    ImageSize,
    Manifest,
    ModelInfo,
    PromptResult,
    Timings,
)
from s3_sam3.contracts.prompts import SegmentOptions
from s3_sam3.imaging.choose import Found, choose, rethreshold
from s3_sam3.imaging.merge import Seen, merge


FLOOR = 0.25
VIEWS = ((0, 0, 24, 16), (0, 0, 14, 16), (10, 0, 24, 16))
OVER = [score for score in SCORES if score >= FLOOR]

Looks = Sequence[Sequence[Candidate]]

looks = st.tuples(*[st.lists(rectangles(), max_size=5) for _ in VIEWS])
requests = st.builds(
    RethresholdRequest,
    threshold=st.sampled_from(OVER),
    max_instances=st.none() | st.integers(1, 5),
    min_area=st.none() | st.sampled_from([1, 20, 100]),
    nms=st.none() | st.just(0.5),
)
options = st.builds(
    SegmentOptions,
    threshold=st.sampled_from(SCORES),
    floor=st.just(FLOOR),
    tiles=st.just(2),
    max_instances=st.integers(1, 5),
)


def run(seen: Looks, cut: SegmentOptions, *, most: int = 1000) -> Manifest:
    """Merge the views, keep the *most* best and choose, as the pipeline does."""
    low = min(cut.threshold, cut.floor)
    views = [
        Seen(view, tuple(one for one in found if one.score >= low))
        for view, found in zip(VIEWS, seen, strict=True)
    ]
    candidates = merge(views, cut.floor)
    found = Found(
        id="p0",
        text="dog",
        presence=0.9,
        threshold=None,
        more=len(candidates) > most,
        candidates=candidates[:most],
    )
    model = {"name": "x", "revision": "x", "dtype": "x", "device": "x", "code_version": "x"}
    return Manifest(
        image=ImageSize(width=24, height=16),
        model=ModelInfo(**model, demo=False),
        timings=Timings(decode_ms=1, model_ms=1, post_ms=1, total_ms=3),
        options=cut,
        prompts=choose([found], cut),
    )


def asked(cut: SegmentOptions, request: RethresholdRequest) -> SegmentOptions:
    """The options of a new run."""
    return cut.model_copy(update=request.model_dump(exclude={"thresholds"}, exclude_none=True))


@given(looks, options, requests, st.sampled_from([1, 3, 1000]))
def test_it_equals_a_fresh_run(
    seen: Looks, cut: SegmentOptions, request_: RethresholdRequest, most: int
) -> None:
    """Also if more was found than is kept, unless the first threshold is below the floor."""
    most = most if cut.threshold >= FLOOR else 1000
    again = rethreshold(run(seen, cut, most=most), request_)
    assert again == run(seen, asked(cut, request_), most=most)


def test_candidates_below_the_floor_decide_no_contour() -> None:
    """
    A fine contour with a low score changes nothing, whether candidates end at 0.1 or not.

    Negative control: in the order of detail alone the weak one takes the other's place.
    """
    sure, weak = rectangle(0.9, 2, 2, 10, 12), rectangle(0.15, 2, 2, 10, 11)
    seen = ([sure], [weak], [])
    low, request = SegmentOptions(threshold=0.1, tiles=2), RethresholdRequest(threshold=0.5)
    [one] = rethreshold(run(seen, low), request).prompts[0].instances
    assert one.area == sure.area
    views = [Seen(view, tuple(found)) for view, found in zip(VIEWS, seen, strict=True)]
    assert merge(views)[0].area == weak.area


@pytest.mark.parametrize(
    ("first", "request_"),
    [
        (SegmentOptions(), RethresholdRequest(threshold=0.3)),
        (
            SegmentOptions(threshold=0.3, max_instances=4),
            RethresholdRequest(min_area=5, max_instances=5),
        ),
    ],
    ids=["all pass a lower threshold", "the cap was reached"],
)
def test_whether_there_was_more_is_noted(
    first: SegmentOptions, request_: RethresholdRequest
) -> None:
    """
    Four are kept of five: where all four pass, the fifth may too.

    Negative control: without the note the re-threshold cannot tell.
    """
    row = [
        rectangle(score, 4 * n, 0, 4 * n + 3, 3)
        for n, score in enumerate((0.9, 0.8, 0.4, 0.35, 0.3))
    ]
    first = first.model_copy(update={"tiles": 2})
    known = run((row, [], []), first, most=4)
    [again] = rethreshold(known, request_).prompts
    assert again.truncated
    assert again.more
    without_note = known.model_copy(update={"prompts": (_without_note(known.prompts[0]),)})
    assert not rethreshold(without_note, request_).prompts[0].truncated


def _without_note(result: PromptResult) -> PromptResult:
    return result.model_copy(update={"more": None})
