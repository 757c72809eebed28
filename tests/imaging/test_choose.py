"""Instances are chosen by one rule; choosing again from a result's candidates changes nothing."""

from dataclasses import replace
from itertools import pairwise

from drawn_candidates import SCORES, findings, found, rectangle
from hypothesis import given
from hypothesis import strategies as st

from s3_sam3.contracts.manifest import Candidate, PromptResult
from s3_sam3.contracts.prompts import SegmentOptions
from s3_sam3.imaging.choose import Found, choose


options = st.builds(
    SegmentOptions,
    threshold=st.sampled_from(SCORES),
    floor=st.sampled_from(SCORES),
    min_area=st.sampled_from([0, 1, 20, 100]),
    nms=st.none() | st.sampled_from([0.2, 0.5, 1.0]),
    max_instances=st.integers(1, 5),
)


def again(result: PromptResult) -> Found:
    """A result's instances and candidates, worst first."""
    kept = result.instances + result.candidates
    return found(*reversed(kept), id_=result.id, threshold=result.threshold, more=bool(result.more))


def scores(candidates: tuple[Candidate, ...]) -> list[float]:
    """Their scores."""
    return [one.score for one in candidates]


@given(findings(), options)
def test_choosing_again_changes_nothing(prompts: tuple[Found, ...], cut: SegmentOptions) -> None:
    """The same options choose the same instances from a result's candidates in any order."""
    results = choose(prompts, cut)
    assert choose([again(result) for result in results], cut) == results


@given(findings(), options)
def test_nothing_over_the_floor_is_lost(prompts: tuple[Found, ...], cut: SegmentOptions) -> None:
    """Each candidate at or above the floor is kept once, best first, labels in order."""
    results = choose(prompts, cut)
    for before, after in zip(prompts, results, strict=True):
        kept = scores(after.instances + after.candidates)
        assert sorted(kept) == sorted(
            score for score in scores(before.candidates) if score >= before.floor(cut)
        )
        for part in (after.instances, after.candidates):
            assert all(one.score >= other.score for one, other in pairwise(part))
    labels = [one.label for result in results for one in result.instances]
    assert labels == list(range(1, len(labels) + 1))


def test_a_prompt_has_its_own_threshold() -> None:
    """The options' threshold is for the prompts that have none."""
    thing = rectangle(0.6, 0, 0, 4, 4)
    cut = SegmentOptions(threshold=0.5)
    loose, strict = choose([found(thing), found(thing, id_="p1", threshold=0.7)], cut)
    assert scores(loose.instances) == [0.6]
    assert strict.instances == ()
    assert strict.candidates == (thing,)


def test_small_masks_are_no_instances() -> None:
    """A mask of `min_area` pixels is one, a smaller one is not."""
    two, four = rectangle(0.9, 0, 0, 2, 1), rectangle(0.8, 0, 0, 2, 2)
    [result] = choose([found(two, four)], SegmentOptions(min_area=4))
    assert scores(result.instances) == [0.8]
    assert result.candidates == (two,)
    assert not result.truncated


def test_the_worse_of_two_that_overlap_is_dropped() -> None:
    """
    Over all prompts, from exactly the requested overlap.

    Negative controls: without `nms`, or with a larger one, both are kept.
    """
    good, bad = rectangle(0.9, 0, 0, 4, 4), rectangle(0.8, 0, 0, 4, 2)  # IoU one half
    prompts = [found(bad), found(good, id_="p1")]
    first, second = choose(prompts, SegmentOptions(nms=0.5))
    assert (first.instances, scores(second.instances)) == ((), [0.9])
    assert first.candidates == (bad,)
    for nms in (None, 0.51):
        assert [len(one.instances) for one in choose(prompts, SegmentOptions(nms=nms))] == [1, 1]


def test_of_equal_scores_the_earlier_prompt_wins() -> None:
    """Two prompts with the same mask and score: the first one has it."""
    thing = rectangle(0.9, 0, 0, 4, 4)
    first, second = choose([found(thing), found(thing, id_="p1")], SegmentOptions(nms=0.9))
    assert (len(first.instances), len(second.instances)) == (1, 0)


def test_what_is_no_instance_drops_nothing() -> None:
    """Of three in a row the first drops the middle one, so the last one stays."""
    row = [rectangle(score, x, 0, x + 8, 4) for score, x in ((0.9, 0), (0.8, 4), (0.7, 8))]
    [result] = choose([found(*row)], SegmentOptions(nms=0.3))
    assert scores(result.instances) == [0.9, 0.7]


def test_over_the_cap_the_answer_is_truncated() -> None:
    """One more than the cap sets `truncated`; as many as the cap do not."""
    three = [rectangle(score, 0, 0, 4, 4) for score in (0.9, 0.8, 0.7)]
    [short] = choose([found(*three)], SegmentOptions(max_instances=2))
    assert (scores(short.instances), short.truncated) == ([0.9, 0.8], True)
    [enough] = choose([found(*three)], SegmentOptions(max_instances=3))
    assert not enough.truncated


def test_missing_candidates_count_only_if_they_may_pass() -> None:
    """If all kept candidates pass, missing ones may too; if the worst does not, none does."""
    some = found(rectangle(0.9, 0, 0, 4, 4), rectangle(0.6, 0, 0, 4, 4), more=True)
    [low] = choose([some], SegmentOptions(threshold=0.6))
    [high] = choose([some], SegmentOptions(threshold=0.7))
    assert (low.truncated, high.truncated) == (True, False)
    [known] = choose([replace(some, more=False)], SegmentOptions(threshold=0.6))
    assert not known.truncated
