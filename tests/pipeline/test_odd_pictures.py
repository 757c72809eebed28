"""
Each hostile or odd file ends right, in bounded memory: directly, through the server, at the API.

The server is the process that an operator starts, around a tiny random model.
"""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryFile
from typing import cast

import aiohttp
import pytest
from odd_pictures import PICTURES, Odd
from odd_pictures.pngs import header
from PIL import Image
from pipeline_client import Log, command, predicted
from process_table import descendants, peak
from random_sam3 import KEY

from api.upload_check_child import check
from api.upload_checks import UploadChecks
from pipeline.decode.child import decode
from pipeline.decode.pool import MEMORY_BYTES, DecodePool
from pipeline.errors import Refused
from s3_sam3.contracts import limits
from s3_sam3.contracts import pipeline as contract
from s3_sam3.contracts.errors import FACTS, ErrorCode
from s3_sam3.contracts.manifest import ImageSize
from s3_sam3.contracts.prompts import Prompt, SegmentOptions


#: What Pillow says of damaged metadata; the children are started without warnings.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

MEGABYTE = 1_000_000

#: What the largest upload and the largest picture may cost the server beyond what it took to
#: start: 50 MB as they come in and once more for the child, 200 MB of pixels as the child sends
#: them and once more as they are kept, and the model's own.
SERVER_BYTES = 800 * MEGABYTE


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running `python -m pipeline`."""

    url: str
    process: subprocess.Popen[str]
    started: int
    """Most memory it took until it was ready, in bytes."""

    @property
    def grown(self) -> int:
        """Bytes of memory that it has taken since, at most."""
        return peak(self.process.pid, "VmHWM") - self.started

    @property
    def children(self) -> list[int]:
        """Process ids of those that decode."""
        return descendants(self.process.pid)


@pytest.fixture(scope="module")
def server(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all files: the bounds hold for the whole of them, one after the other."""
    process = subprocess.Popen(
        command(decoders=2),
        env={
            "PATH": os.environ["PATH"],
            "API_SECRET_KEY": KEY,
            "HF_TOKEN": "hf_not_for_children",
            "PIPELINE_PORT": "0",
            "SAM3_WEIGHTS_PATH": str(checkpoint),
            "SAM3_DEVICE": "cpu",
            "SAM3_SELF_TEST": "finite",
            "OMP_NUM_THREADS": "1",
        },
        stderr=subprocess.PIPE,
        text=True,
    )
    log = Log(process)
    log.line("setup_done")
    url = log.line("pipeline_listening")["url"]
    yield Server(url=url, process=process, started=peak(process.pid, "VmHWM"))
    process.terminate()
    process.wait()


async def ask(server: Server, data: bytes, *, drawn: bool) -> ImageSize | ErrorCode:
    """Send a picture; its size and frames, or the error's code, which fits the status."""
    request = contract.PredictRequest(
        prompts=(Prompt(text="nothing", threshold=1),),
        options=SegmentOptions(floor=1),
        pictures=drawn,
    )
    form = aiohttp.FormData()
    form.add_field("request", request.model_dump_json())
    form.add_field("image", BytesIO(data), filename="x")
    async with (
        aiohttp.ClientSession(headers={contract.API_KEY_HEADER: KEY}) as session,
        session.post(f"{server.url}/api/v1/predict", data=form) as answer,
    ):
        if answer.status == 200:
            return (await predicted(answer)).manifest.image
        code = ErrorCode((await answer.json())["error"]["code"])
    assert answer.status == FACTS[code].status
    return code


@pytest.mark.parametrize("odd", PICTURES.values(), ids=PICTURES.keys())
async def test_each_ends_right_in_bounded_memory(server: Server, odd: Odd) -> None:
    """The right size and number of frames, or the right code; no process over its bound."""
    width, height = odd.size
    # To draw fifty million pixels takes long and is no matter of decoding.
    answer = await ask(server, odd.make(), drawn=width * height < MEGABYTE)
    if odd.code:
        assert answer == odd.code
    else:
        assert answer == ImageSize(width=width, height=height, frames=odd.frames)
    assert server.grown < SERVER_BYTES
    assert [pid for pid in server.children if peak(pid, "VmPeak") > MEMORY_BYTES] == []


@pytest.mark.parametrize("odd", PICTURES.values(), ids=PICTURES.keys())
def test_each_shows_the_right_colours(odd: Odd) -> None:
    """Upright, in sRGB, on white: the middles of the four quarters say so."""
    if odd.code:
        with pytest.raises(Refused) as caught:
            decode(odd.make())
        assert caught.value.code == odd.code
        return
    picture = decode(odd.make()).picture
    assert picture.mode == "RGB"
    assert wrong(odd, picture) == []


def wrong(odd: Odd, picture: Image.Image) -> list[str]:
    """What is not as it must be."""
    if picture.size != odd.size:
        return [f"{picture.size} for {odd.size}"]
    width, height = picture.size
    places = [(x, y) for y in (height // 4, height * 3 // 4) for x in (width // 4, width * 3 // 4)]
    seen = [cast("tuple[int, ...]", picture.getpixel(place)) for place in places]
    return [
        f"{one} for {other}"
        for one, other in zip(seen, odd.quarters or (), strict=False)
        if max(abs(a - b) for a, b in zip(one, other, strict=True)) > odd.within
    ]


def test_a_careless_decoder_shows_other_colours() -> None:
    """Negative control: what Pillow gives by itself is wrong for many of the sound files."""
    small = {
        name: odd
        for name, odd in PICTURES.items()
        if odd.code is None and odd.size[0] * odd.size[1] < MEGABYTE
    }
    careless = {
        name
        for name, odd in small.items()
        if wrong(odd, Image.open(BytesIO(odd.make())).convert("RGB"))
    }
    assert {
        "JPEG: EXIF orientation 2",
        "JPEG: CMYK without Adobe's marker",
        "JPEG: a profile that swaps colours",
        "PNG: 16-bit grey",
        "PNG: 2 bits with a transparent colour",
        "PNG: RGBA",
        "WebP: EXIF that lays it on its side",
    } <= careless
    assert len(careless) >= 20


#: Refused by the API before a child checks them.
UNCHECKED = {"empty_body", "file_too_large"}

CHECKED = {name: odd for name, odd in PICTURES.items() if odd.code not in UNCHECKED}


@pytest.mark.parametrize("odd", CHECKED.values(), ids=CHECKED.keys())
def test_the_api_judges_as_the_pipeline_does(odd: Odd) -> None:
    """What the API lets in can be segmented, at the size it says; what it refuses could not."""
    answer = check(odd.make(), limits.MAX_IMAGE_PIXELS)
    if odd.code:
        assert answer["error"] == odd.code
    else:
        assert (answer["width"], answer["height"]) == odd.size


HEAVY = {name: odd for name, odd in CHECKED.items() if "large as may be" in name}


@pytest.mark.parametrize("odd", HEAVY.values(), ids=HEAVY.keys())
async def test_the_apis_own_bounds_let_the_largest_in(odd: Odd) -> None:
    """Its child has a bound on memory, too; the largest picture must fit under it."""
    with TemporaryFile() as file:
        file.write(odd.make())
        async with UploadChecks() as checks:
            seen = await checks.check(file)
    assert (seen.width, seen.height) == odd.size


def bomb() -> bytes:
    """A header that claims 400 million pixels."""
    return header(20_000, 20_000)


async def test_without_the_pixel_limit_the_bound_is_broken() -> None:
    """Negative control: the limits keep a child small, not the kindness of the files."""
    async with DecodePool(1, max_pixels=10**9, memory_bytes=2**40) as pool:
        with pytest.raises(Refused):
            await pool.decode(bomb())
        assert peak(pool.pids[0], "VmPeak") > MEMORY_BYTES


async def test_a_child_without_memory_says_so() -> None:
    """Where the pixel limit does not help the bound on memory does, in words of its own."""
    async with DecodePool(1, max_pixels=10**9) as pool:
        with pytest.raises(Refused) as caught:
            await pool.decode(bomb())
        assert caught.value.code is ErrorCode.IMAGE_TOO_LARGE
        assert "memory" in caught.value.message
        assert peak(pool.pids[0], "VmPeak") <= MEMORY_BYTES
