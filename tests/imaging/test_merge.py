"""An object that several views show is kept once."""

import numpy as np
from drawn_candidates import rectangle
from hypothesis import given
from hypothesis import strategies as st

from s3_sam3.contracts.manifest import Candidate
from s3_sam3.imaging import rle
from s3_sam3.imaging.merge import Seen, merge


SIZE = (100, 60)
WHOLE = (0, 0, 100, 60)
LEFT, RIGHT = (0, 0, 60, 60), (40, 0, 100, 60)


def thing(score: float, left: int, top: int, right: int, bottom: int) -> Candidate:
    """A rectangle in the picture."""
    return rectangle(score, left, top, right, bottom, size=SIZE)


def merged(
    whole: list[Candidate], left: list[Candidate], right: list[Candidate]
) -> list[Candidate]:
    """Merge the candidates of the whole picture and of two tiles."""
    views = ((WHOLE, whole), (LEFT, left), (RIGHT, right))
    return list(merge([Seen(view, tuple(found)) for view, found in views]))


def test_the_better_of_two_views_is_kept() -> None:
    """The whole and both tiles show one object a little differently: the best score stays."""
    best = thing(0.9, 44, 10, 54, 20)
    assert merged([thing(0.6, 43, 9, 54, 21)], [best], [thing(0.8, 45, 10, 54, 20)]) == [best]


def test_the_finest_contour_has_the_best_score() -> None:
    """A tile shows an object in more detail, and the whole picture gives it a better score."""
    fine = thing(0.4, 44, 10, 54, 20)
    [one] = merged([thing(0.9, 42, 9, 56, 22)], [fine], [])
    assert (one.rle, one.score) == (fine.rle, 0.9)


def test_a_piece_at_a_tiles_end_falls_to_the_whole_object() -> None:
    """
    A piece cut by a tile is dropped for the whole object, although that scores worse.

    Negative control: at the picture's own end nothing is cut, and the better score stays.
    """
    whole, piece = thing(0.4, 30, 10, 90, 20), thing(0.9, 30, 10, 60, 20)
    assert merged([whole], [piece], []) == [whole]
    edge = thing(0.9, 0, 10, 30, 20)
    assert merged([thing(0.4, 0, 10, 31, 20)], [edge], []) == [edge]


def test_a_piece_that_nobody_has_whole_is_kept() -> None:
    """Better half an object than none."""
    piece = thing(0.9, 30, 10, 60, 20)
    assert merged([thing(0.4, 0, 40, 10, 50)], [piece], [])[0] == piece


def test_an_object_in_a_much_larger_one_stays() -> None:
    """A wheel in a car is no duplicate of the car, whichever view shows it."""
    car, wheel = thing(0.9, 5, 10, 55, 40), thing(0.8, 10, 30, 20, 40)
    assert merged([car], [wheel], []) == [car, wheel]


def test_objects_of_one_view_are_never_made_one() -> None:
    """The model has told them apart."""
    two = [thing(0.9, 5, 10, 25, 30), thing(0.8, 6, 10, 26, 30)]
    assert merged([], two, []) == two


def test_one_view_is_its_own_answer() -> None:
    """Nothing to merge: nothing changes, empty masks included."""
    found = (thing(0.9, 0, 0, 9, 9), thing(0.5, 0, 0, 0, 0))
    assert merge([Seen(WHOLE, found)]) == found


@given(st.permutations(range(12)))
def test_many_objects_are_counted_once(order: list[int]) -> None:
    """Twelve objects, each in the whole and in every tile that has it, in any order: twelve."""
    places = [(8 * n, 5 * (n % 3)) for n in order]
    things = [thing(round(0.5 + n / 100, 2), x, y, x + 5, y + 4) for n, (x, y) in enumerate(places)]
    in_left = [one for one in things if one.box[0] < 60]
    in_right = [cut(one, 40) for one in things if one.box[2] > 40]
    assert {one.score for one in merged(things, in_left, in_right)} == {one.score for one in things}
    assert len(merged(things, in_left, in_right)) == 12


def cut(candidate: Candidate, left: int) -> Candidate:
    """The part right of a column."""
    columns = np.ascontiguousarray(rle.decode(candidate.rle).T)
    columns[:left] = 0
    [(lengths, area)] = rle.encode(columns[None])
    return candidate.model_copy(update={"rle": lengths, "area": area})
