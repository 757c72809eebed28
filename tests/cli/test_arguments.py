"""Which arguments of `s3 segment` are pictures, and which are prompts."""

from pathlib import Path

import pytest
import typer
from drawn_manifests import picture

from s3_sam3.cli.arguments import box, edges, parse
from s3_sam3.contracts.prompts import BoxLabel


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: two photos in a folder, a picture without an ending, a text."""
    (tmp_path / "photos").mkdir()
    for name in ("photos/a.png", "photos/b.png", "scan.png"):
        picture(tmp_path / name)
    (tmp_path / "scan.png").rename(tmp_path / "scan")
    (tmp_path / "photos" / "notes.txt").write_text("hello")
    (tmp_path / "car").write_text("a file that is no picture")
    monkeypatch.chdir(tmp_path)
    return tmp_path


BOTH = ["photos/a.png", "photos/b.png"]


@pytest.mark.parametrize(
    ("arguments", "pictures", "prompts"),
    [
        (["photos/a.png", "red circle"], BOTH[:1], ["red circle"]),
        (["red circle", "photos/a.png"], BOTH[:1], ["red circle"]),
        ([*BOTH, "a", "b"], BOTH, ["a", "b"]),
        (["photos/*.png", "dog"], BOTH, ["dog"]),
        (["photos/", "dog"], BOTH, ["dog"]),
        (["photos/a.png", "photos/a.png", "dog", "dog"], BOTH[:1], ["dog"]),
        (["photos/a.png", "scan", "dog"], ["photos/a.png", "scan"], ["dog"]),
        (["photos/a.png", "car"], BOTH[:1], ["car"]),
        (["photos/a.png", "photos"], BOTH[:1], ["photos"]),
        (["car", "dog"], ["car"], ["dog"]),
        (["photos/a.png", "who is it?"], BOTH[:1], ["who is it?"]),
        (["photos/a.png", "v2.0 logo"], BOTH[:1], ["v2.0 logo"]),
    ],
    ids=" ".join,
)
def test_pictures_exist_and_prompts_are_the_rest(
    folder: Path, arguments: list[str], pictures: list[str], prompts: list[str]
) -> None:
    """Files, patterns, folders with a slash; a word that happens to be a file stays a prompt."""
    found = parse(arguments)

    assert [str(path) for path in found.pictures] == pictures
    assert list(found.prompts) == prompts


@pytest.mark.parametrize(
    ("arguments", "many"),
    [
        (["photos/a.png"], False),
        (["photos/a.png", "scan"], True),
        (["photos/a*.png"], True),
        (["photos/"], True),
    ],
    ids=str,
)
def test_what_may_match_several_is_many(folder: Path, arguments: list[str], many: bool) -> None:
    """A pattern that matches one picture today is a batch, which tomorrow's call continues."""
    assert parse([*arguments, "dog"]).many is many


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("nope.jpg", "no such file"),
        ("photos/nope.PNG", "no such file"),
        ("nope/*.jpg", "no file matches"),
        ("nope/", "no such folder"),
        ("empty/", "no JPEG, PNG or WebP"),
    ],
)
def test_a_picture_that_is_not_there_is_told(folder: Path, argument: str, said: str) -> None:
    """A misspelt file is an error, never a prompt that costs a credit."""
    (folder / "empty").mkdir()
    with pytest.raises(typer.BadParameter, match=said):
        parse(["photos/a.png", argument, "dog"])


def test_a_box_may_be_negative() -> None:
    """`x1,y1,x2,y2` is an example; with `:negative` a counter-example."""
    assert box("1,2,3.5,4").xyxy == (1, 2, 3.5, 4)
    assert box("1,2,3,4:negative").label is BoxLabel.NEGATIVE


@pytest.mark.parametrize("text", ["1,2,3", "a,b,c,d", "3,2,1,4", "1,2,3,4:maybe", ""])
def test_a_box_that_is_none_is_a_usage_error(text: str) -> None:
    """Too few numbers, no area, no such label."""
    with pytest.raises(typer.BadParameter):
        box(text)


def test_edges_are_numbers() -> None:
    """A region is four numbers."""
    assert edges("0,0,10,20") == (0, 0, 10, 20)
