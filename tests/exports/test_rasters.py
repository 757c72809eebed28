"""Formats that are pictures, and their errors for a wrong picture."""

import uuid
from pathlib import Path

import numpy as np
import pytest
from drawn_manifests import disc, manifest, picture, ring
from fake_service import segmentation
from PIL import Image

from s3_sam3.exports import FORMATS, FormatName, NoPicture, Pictured, WrongPicture, export


SIZE = (64, 48)
RING = ring(SIZE, (20, 24), 15)
DISC = disc(SIZE, (50, 20), 8)
BUS = manifest(**{"school bus": [RING, DISC]})
ORIENTATION, TURNED = 0x0112, 6


def test_a_binary_png_is_the_mask(tmp_path: Path) -> None:
    """One black and white file per instance, named by label and prompt."""
    paths = export([Pictured(name="bus", manifest=BUS)], FormatName.PNG, tmp_path)

    assert [str(path.relative_to(tmp_path)) for path in paths] == [
        "bus/001-school-bus.png",
        "bus/002-school-bus.png",
    ]
    for path, mask in zip(paths, (RING, DISC), strict=True):
        with Image.open(path) as opened:
            assert np.array_equal(np.asarray(opened.convert("L")), mask * 255)


def test_a_cut_out_is_the_part_of_the_picture_under_its_mask(tmp_path: Path) -> None:
    """Cropped to the mask; alpha is the mask, the colours are the picture's."""
    path = picture(tmp_path / "bus.png", SIZE)
    item = Pictured(name="bus", manifest=BUS, picture=path)
    [_, second] = export([item], FormatName.CUTOUT, tmp_path)
    with Image.open(second) as opened:
        cut = np.asarray(opened)
    with Image.open(path) as opened:
        whole = np.asarray(opened)

    assert cut.shape == (17, 17, 4)
    assert np.array_equal(cut[..., 3], DISC[12:29, 42:59] * 255)
    assert np.array_equal(cut[..., :3], whole[12:29, 42:59])


def test_a_turned_picture_is_stood_upright(tmp_path: Path) -> None:
    """The manifest is about the upright picture, so a turned file is cut as people see it."""
    upright = Image.open(picture(tmp_path / "bus.png", SIZE))
    turned = Image.new("RGB", (1, 1))
    exif = turned.getexif()
    exif[ORIENTATION] = TURNED
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    straight = Pictured(name="straight", manifest=BUS, picture=tmp_path / "bus.png")
    item = Pictured(name="turned", manifest=BUS, picture=tmp_path / "turned.png")
    made = [export([each], FormatName.CUTOUT, tmp_path)[1] for each in (straight, item)]

    assert made[0].read_bytes() == made[1].read_bytes()


def test_labels_are_the_numbers_of_the_instances(tmp_path: Path) -> None:
    """The label map says which instance each pixel belongs to."""
    [path] = export([Pictured(name="bus", manifest=BUS)], FormatName.LABELS, tmp_path)
    with Image.open(path) as opened:
        assert np.array_equal(np.asarray(opened), RING * 1 + DISC * 2)


def test_an_overlay_is_as_large_as_the_picture(tmp_path: Path) -> None:
    """The overlay changes the pixels of instances."""
    item = Pictured(name="bus", manifest=BUS, picture=picture(tmp_path / "bus.png", SIZE))
    [path] = export([item], FormatName.OVERLAY, tmp_path)
    with Image.open(path) as opened:
        assert opened.size == SIZE
        assert opened.format == "WEBP"


def test_another_picture_is_told_by_its_size(tmp_path: Path) -> None:
    """A picture of another size is refused with both sizes."""
    item = Pictured(name="bus", manifest=BUS, picture=picture(tmp_path / "other.png", (100, 50)))
    with pytest.raises(WrongPicture, match=r"100x50 px.*64x48 px"):
        export([item], FormatName.CUTOUT, tmp_path)


def test_a_format_that_needs_the_picture_says_so() -> None:
    """Without a picture there is a sentence that names the option."""
    with pytest.raises(NoPicture, match="--picture"):
        export([Pictured(name="bus", manifest=BUS)], FormatName.OVERLAY, Path())


def test_a_text_is_no_picture(tmp_path: Path) -> None:
    """A file that cannot be read as a picture is named."""
    (tmp_path / "bus.png").write_text("hello")
    item = Pictured(name="bus", manifest=BUS, picture=tmp_path / "bus.png")
    with pytest.raises(WrongPicture, match="cannot be read"):
        export([item], FormatName.CUTOUT, tmp_path)


def test_results_of_one_name_do_not_write_over_each_other(tmp_path: Path) -> None:
    """Two results named alike have files of their own."""
    item = Pictured(name="bus", manifest=BUS)
    paths = export([item, item], FormatName.LABELS, tmp_path)

    assert [path.name for path in paths] == ["bus.labels.png", "bus-2.labels.png"]


def test_every_format_is_in_the_table() -> None:
    """The registry has an entry with a sentence for each name."""
    assert set(FORMATS) == set(FormatName)
    assert all(chosen.description.endswith(".") for chosen in FORMATS.values())


def test_a_segmentation_exports_itself(tmp_path: Path) -> None:
    """The SDK's answer writes any format, named after the picture or after its task."""
    task = uuid.UUID(int=1)
    found = segmentation(task, BUS)
    path = picture(tmp_path / "bus.png", SIZE)
    named = found.export("overlay", tmp_path, picture=str(path))
    unnamed = found.export("labels", tmp_path)

    assert [each.name for each in (*named, *unnamed)] == ["bus.overlay.webp", f"{task}.labels.png"]
    with pytest.raises(ValueError, match="nope"):
        found.export("nope", tmp_path)
