"""A re-threshold equals a new run; a request that the manifest cannot answer is refused."""

from dataclasses import replace

import pytest
from drawn_candidates import SCORES, findings, found, rectangle
from hypothesis import given
from hypothesis import strategies as st

from s3_sam3.contracts.bodies import RethresholdRequest
from s3_sam3.contracts.manifest import ImageSize, Manifest, ModelInfo, Timings
from s3_sam3.contracts.prompts import SegmentOptions
from s3_sam3.imaging.choose import (
    BelowFloor,
    Found,
    UnfitOptions,
    UnknownPrompt,
    choose,
    rethreshold,
)


FLOOR = 0.25

numbers = st.none() | st.sampled_from([1, 20, 100])
requests = st.builds(
    RethresholdRequest,
    threshold=st.none() | st.sampled_from([score for score in SCORES if score >= FLOOR]),
    thresholds=st.dictionaries(
        st.just("p0"), st.sampled_from([score for score in SCORES if score >= FLOOR])
    ),
    max_instances=st.none() | st.integers(1, 5),
    min_area=numbers,
    nms=st.none() | st.sampled_from([0.2, 0.5, 1.0]),
)
options = st.builds(
    SegmentOptions,
    threshold=st.sampled_from([score for score in SCORES if score >= FLOOR]),
    floor=st.just(FLOOR),
    nms=st.none() | st.just(0.5),
    max_instances=st.integers(1, 5),
)


def manifest(prompts: tuple[Found, ...], options: SegmentOptions) -> Manifest:
    """The manifest of a run with these options."""
    model = {"name": "x", "revision": "x", "dtype": "x", "device": "x", "code_version": "x"}
    return Manifest(
        image=ImageSize(width=24, height=16),
        model=ModelInfo(**model, demo=False),
        timings=Timings(decode_ms=1, model_ms=1, post_ms=1, total_ms=3),
        prompts=choose(prompts, options),
        options=options,
    )


def fresh(
    prompts: tuple[Found, ...], options: SegmentOptions, request: RethresholdRequest
) -> Manifest:
    """The manifest of a new run with these options."""
    own = request.thresholds
    prompts = tuple(replace(one, threshold=own.get(one.id, one.threshold)) for one in prompts)
    changes = request.model_dump(exclude={"thresholds"}, exclude_none=True)
    return manifest(prompts, options.model_copy(update=changes))


@given(findings(floor=FLOOR), options, requests)
def test_it_equals_a_fresh_run(
    prompts: tuple[Found, ...], cut: SegmentOptions, request: RethresholdRequest
) -> None:
    """For any options at or above the floor: instances, candidates, labels, options."""
    assert rethreshold(manifest(prompts, cut), request) == fresh(prompts, cut, request)


def test_without_its_candidates_a_manifest_is_not_enough() -> None:
    """Negative control: without candidates, instances are missing from the second result."""
    things = (found(rectangle(0.9, 0, 0, 4, 4), rectangle(0.3, 0, 0, 8, 8)),)
    request = RethresholdRequest(threshold=0.25)
    full = manifest(things, SegmentOptions())
    bare = full.prompts[0].model_copy(update={"candidates": ()})
    poor = full.model_copy(update={"prompts": (bare,)})
    assert rethreshold(full, request) == fresh(things, SegmentOptions(), request)
    assert rethreshold(poor, request) != fresh(things, SegmentOptions(), request)


def test_below_the_floor_nothing_is_known() -> None:
    """A threshold below the floor is refused, with the floor; one at the floor is not."""
    known = manifest((found(rectangle(0.3, 0, 0, 4, 4)),), SegmentOptions(floor=0.25))
    with pytest.raises(BelowFloor, match=r"0\.25 or more for prompt `p0`.* a `floor` as low"):
        rethreshold(known, RethresholdRequest(threshold=0.24))
    with pytest.raises(BelowFloor):
        rethreshold(known, RethresholdRequest(thresholds={"p0": 0.1}))
    assert rethreshold(known, RethresholdRequest(threshold=0.25)).instance_count == 1


def test_a_first_threshold_below_the_floor_is_the_floor() -> None:
    """With a first threshold of 0.1 all is known down to 0.1, although candidates end at 0.25."""
    things = (found(rectangle(0.1, 0, 0, 4, 4)),)
    known = manifest(things, SegmentOptions(threshold=0.1, max_instances=1))
    assert rethreshold(known, RethresholdRequest(threshold=0.1)) == known
    raised = rethreshold(known, RethresholdRequest(threshold=0.3))
    with pytest.raises(BelowFloor):
        rethreshold(raised, RethresholdRequest(threshold=0.1))


def test_an_unknown_prompt_is_refused() -> None:
    """The error lists the ids that exist."""
    known = manifest((found(), found(id_="cats")), SegmentOptions())
    with pytest.raises(UnknownPrompt, match="no prompt `dogs`; it has `p0`, `cats`"):
        rethreshold(known, RethresholdRequest(thresholds={"dogs": 0.5}))


def test_over_200_instances_need_tiles() -> None:
    """Over 200 instances need tiles, also afterwards."""
    with pytest.raises(UnfitOptions, match="needs tiles"):
        rethreshold(manifest((found(),), SegmentOptions()), RethresholdRequest(max_instances=201))
