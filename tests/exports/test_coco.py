"""COCO files as pycocotools itself reads them."""

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
from drawn_manifests import disc, manifest, overlap, ring
from pycocotools.coco import COCO

from s3_sam3.exports import ExportOptions, FormatName, Pictured, export


SIZE = (64, 48)
RING = ring(SIZE, (20, 24), 15)
DISC = disc(SIZE, (50, 20), 8)
BUS = Pictured(name="bus", manifest=manifest(bus=[RING, DISC], dog=[]), file_name="bus.png")
DOG = Pictured(name="dog", manifest=manifest(dog=[DISC]), file_name="dog.png")


@pytest.mark.parametrize("polygons", [False, True])
def test_pycocotools_reads_the_masks(tmp_path: Path, *, polygons: bool) -> None:
    """Run lengths come back pixel by pixel, polygons with an IoU of at least 0.98."""
    coco = _exported(tmp_path, BUS, options=ExportOptions(coco_polygons=polygons))
    masks = [coco.annToMask(each).astype(np.bool_) for each in coco.loadAnns(coco.getAnnIds())]

    assert len(masks) == 2
    for mask, drawn in zip(masks, (RING, DISC), strict=True):
        assert overlap(mask, drawn) >= (0.98 if polygons else 1)


def test_several_pictures_are_one_data_set(tmp_path: Path) -> None:
    """Categories are shared between pictures, and every id is there once."""
    coco = _exported(tmp_path, BUS, DOG)
    names = {each["id"]: each["name"] for each in coco.loadCats(coco.getCatIds())}
    found = [
        (coco.imgs[each["image_id"]]["file_name"], names[each["category_id"]])
        for each in coco.loadAnns(coco.getAnnIds())
    ]

    assert names == {1: "bus", 2: "dog"}
    assert found == [("bus.png", "bus"), ("bus.png", "bus"), ("dog.png", "dog")]


def test_a_box_holds_its_mask(tmp_path: Path) -> None:
    """COCO's box is left, top, width, height of the pixels."""
    coco = _exported(tmp_path, DOG)
    [annotation] = coco.loadAnns(coco.getAnnIds())

    assert annotation["bbox"] == [42, 12, 17, 17]
    assert annotation["area"] == DISC.sum()


def _exported(folder: Path, *items: Pictured, options: ExportOptions | None = None) -> COCO:
    [path] = export(items, FormatName.COCO, folder, options)
    with contextlib.redirect_stdout(io.StringIO()):  # it tells how long it took
        return COCO(str(path))
