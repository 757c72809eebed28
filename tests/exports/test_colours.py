"""Exports cut out and draw on the pixels that the model saw."""

from io import BytesIO

import numpy as np
import pytest
from drawn_manifests import disc, manifest
from odd_pictures import PICTURES, Odd
from PIL import Image, ImageOps

from pipeline.decode.child import decode
from s3_sam3.exports import Pictured, WrongPicture


#: What Pillow says of damaged metadata.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

SMALL = {name: odd for name, odd in PICTURES.items() if odd.size[0] * odd.size[1] <= 1_000_000}
SOUND = {name: odd for name, odd in SMALL.items() if odd.code is None}
DAMAGED = {name: odd for name, odd in SMALL.items() if odd.code == "invalid_image"}


def pictured(odd: Odd) -> Pictured:
    """A picture with a manifest of its size."""
    return Pictured(
        name="odd",
        manifest=manifest(thing=[disc(odd.size, (0, 0), 2)]),
        picture=odd.make(),
    )


@pytest.mark.parametrize("odd", SOUND.values(), ids=SOUND.keys())
def test_an_export_shows_what_the_model_saw(odd: Odd) -> None:
    """Each valid odd file has the same pixels in an export as in the pipeline."""
    seen = decode(odd.make()).picture
    assert np.array_equal(np.asarray(pictured(odd).open()), np.asarray(seen))


@pytest.mark.parametrize("odd", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_file_is_told(odd: Odd) -> None:
    """Any error of Pillow becomes one of the SDK's errors."""
    with pytest.raises(WrongPicture, match="cannot be read as a picture"):
        pictured(odd).open()


def test_a_careless_reader_shows_other_colours() -> None:
    """Negative control: Pillow's own conversion gives other colours for many of the valid files."""
    far = []
    for name, odd in SOUND.items():
        data = odd.make()
        careless = ImageOps.exif_transpose(Image.open(BytesIO(data))).convert("RGB")
        off = np.asarray(careless, np.int16) - np.asarray(decode(data).picture, np.int16)
        if np.abs(off).max() > 100:
            far.append(name)
    assert len(far) >= 10
