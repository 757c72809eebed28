"""A YOLO-seg data set, read back as its format says."""

from pathlib import Path

import numpy as np
from drawn_manifests import disc, drawn, manifest, overlap, picture, ring

from s3_sam3.exports import FormatName, Pictured, export


SIZE = (64, 48)
RING = ring(SIZE, (20, 24), 15)
TWO = disc(SIZE, (10, 10), 7) | disc(SIZE, (50, 35), 9)


def test_a_line_is_an_instance_with_its_holes_and_parts(tmp_path: Path) -> None:
    """One line each, in fractions of width and height; drawn, the ring has its hole."""
    item = Pictured(name="bus", manifest=manifest(bus=[RING], dog=[TWO]), file_name="bus.jpg")
    export([item], FormatName.YOLO, tmp_path)
    lines = (tmp_path / "labels" / "bus.txt").read_text().splitlines()

    assert [line.split()[0] for line in lines] == ["0", "1"]
    for line, mask in zip(lines, (RING, TWO), strict=True):
        corners = np.array(line.split()[1:], float).reshape(-1, 2)
        assert corners.min() >= 0
        assert corners.max() <= 1
        assert overlap(drawn([(corners * SIZE).ravel().tolist()], mask.shape), mask) >= 0.98


def test_the_data_set_names_its_classes(tmp_path: Path) -> None:
    """`classes.txt` and `data.yaml` have the prompts of all pictures, in order."""
    items = [
        Pictured(name="a", manifest=manifest(bus=[RING])),
        Pictured(name="b", manifest=manifest(**{'a "big" dog': [RING], "bus": []})),
    ]
    export(items, FormatName.YOLO, tmp_path)

    assert (tmp_path / "classes.txt").read_text() == 'bus\na "big" dog\n'
    assert '  0: "bus"\n  1: "a \\"big\\" dog"\n' in (tmp_path / "data.yaml").read_text()


def test_known_pictures_come_along(tmp_path: Path) -> None:
    """The picture's own bytes lie in images/ under the name of its label file."""
    path = picture(tmp_path / "bus.png", SIZE)
    item = Pictured(name="bus", manifest=manifest(bus=[RING]), picture=path, file_name=path.name)
    export([item], FormatName.YOLO, tmp_path / "set")

    assert (tmp_path / "set" / "images" / "bus.png").read_bytes() == path.read_bytes()
    assert (tmp_path / "set" / "labels" / "bus.txt").exists()


def test_a_picture_without_instances_has_an_empty_file(tmp_path: Path) -> None:
    """Training needs to know that there is nothing: an empty label file, not none."""
    nothing = manifest(bus=[np.zeros(SIZE[::-1], np.bool_)])
    export([Pictured(name="bus", manifest=nothing)], FormatName.YOLO, tmp_path)

    assert (tmp_path / "labels" / "bus.txt").read_text() == ""
