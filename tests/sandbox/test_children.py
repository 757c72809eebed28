"""The three children as they are started: what one that was taken over could find."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryFile
from uuid import uuid4

import pytest
from drawn_manifests import disc, manifest
from odd_pictures import PICTURES
from PIL import Image
from process_table import gone
from typing_extensions import override

from adapters import objects
from api.problems import Problem
from api.rethresholding import Rethresholder
from api.upload_checks import UploadChecks
from pipeline.decode.pool import DecodePool
from pipeline.errors import Refused
from s3_sam3.contracts.bodies import RethresholdRequest


ROOT = Path(__file__).parents[2]

#: Python runs this at its start. It puts something else in a decoder's place, which says what it
#: could find.
TAKEN_OVER = """
import os, sys

def found():
    there = []
    for path in (f"/proc/{os.getppid()}/environ", "/etc/passwd"):
        try:
            open(path, "rb").close()
            there.append(path)
        except OSError:
            pass
    return ", ".join(there) or "nothing"

class Told:
    size = (1, 1)
    def __init__(self, _file):
        self.size = (1, 1) if found() == "nothing" else (2, 2)
    def draft(self, *_): pass
    def load(self): pass
    def getexif(self): return {}

if "pipeline.decode.child" in sys.orig_argv:
    from pipeline.errors import Refused
    from s3_sam3.imaging import upright
    def opened(*_, **__):
        raise Refused(found())
    upright.opened = opened
if "api.upload_check_child" in sys.orig_argv:
    from PIL import PngImagePlugin
    PngImagePlugin.PngImageFile = Told
if "api.rethreshold_child" in sys.orig_argv:
    from s3_sam3.imaging import choose as cut
    def rethreshold(*_):
        raise cut.RethresholdError(found())
    cut.rethreshold = rethreshold
"""

UNGUARDED = """
from sandbox import confinement
confinement.confine = lambda: None
"""


class Stored(objects.ObjectStore):
    """One manifest under every key."""

    def __init__(self) -> None:
        """Open nothing."""

    @override
    async def get(self, key: str, *, max_bytes: int | None = None) -> bytes:
        return manifest(a=[disc((40, 30), (10, 10), 5)]).model_dump_json().encode()


def png() -> bytes:
    """A small picture."""
    file = BytesIO()
    Image.new("RGB", (8, 8), "red").save(file, "PNG")
    return file.getvalue()


async def decoder() -> str:
    """What the pipeline's child has found."""
    async with DecodePool(1) as pool:
        with pytest.raises(Refused) as caught:
            await pool.decode(png())
    return caught.value.message


async def upload_checks() -> str:
    """What the API's child for uploads has found."""
    with TemporaryFile() as file:
        file.write(png())
        async with UploadChecks() as checks:
            return "nothing" if (await checks.check(file)).width == 1 else "something"


async def rethresholder() -> str:
    """What the API's child for stored results has found."""
    async with Rethresholder() as one:
        with pytest.raises(Problem) as caught:
            await one.rethreshold(Stored(), "key", uuid4(), RethresholdRequest())
    return str((caught.value.details or {})["reason"])


CHILDREN = [decoder, upload_checks, rethresholder]


@pytest.mark.parametrize("child", CHILDREN)
async def test_a_child_that_was_taken_over_finds_nothing(
    child: Callable[[], Awaitable[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Neither its parent's environment nor any file.

    Negative control: without the guards it finds something.
    """
    spy = tmp_path / "sitecustomize.py"
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    spy.write_text(TAKEN_OVER)
    assert await child() == "nothing"
    spy.write_text(UNGUARDED + TAKEN_OVER)
    assert await child() != "nothing"


def told(pid: int) -> str:
    """What the kernel tells of a process."""
    return Path(f"/proc/{pid}/status").read_text()


async def test_a_child_of_root_is_nobody_and_is_still_ended() -> None:
    """Its parent kills it, and what it asked for at its parent's death is not forgotten."""
    async with DecodePool(1) as pool:
        await pool.decode(png())
        [pid] = pool.pids
        status = told(pid)
        os.kill(pid, signal.SIGSTOP)
        hung = asyncio.create_task(pool.decode(png()))
        await asyncio.sleep(0)
    assert "NoNewPrivs:\t1" in status
    if os.geteuid() == 0:
        assert "Uid:\t65534\t65534\t65534\t65534" in status
        assert "CapPrm:\t0000000000000000" in status
    assert gone([pid], 10)
    await asyncio.gather(hung, return_exceptions=True)


#: Does a child's work and prints the modules that came in with it.
IMPORTED = """
import os, sys
from pathlib import Path
import {child} as child
from sandbox.child import SealedMemory
before = set(sys.modules)
memory = SealedMemory(os.memfd_create("x"))
for path in Path(sys.argv[1]).iterdir():
    {work}
print(*sorted(set(sys.modules) - before))
"""

WORK = {
    "pipeline.decode.child": """
    child.answer({"size": memory.write([path.read_bytes()]), "max_pixels": 50_000_000}, memory)""",
    "api.upload_check_child": """
    child.answer({"size": memory.write([path.read_bytes()]), "max_pixels": 50_000_000}, memory)""",
    "api.rethreshold_child": """
    for request, manifest in (
        ("{}", path.read_bytes()),
        ('{"nms": 0.5}', path.read_bytes()),
        ('{"threshold": 0}', path.read_bytes()),
        ("{}", b"no manifest"),
    ):
        asked = f'{{"task_id": "{child.UUID(int=1)}", "request": {request}}}\\n'.encode()
        child.answer({"size": memory.write([asked, manifest])}, memory)""",
}


@pytest.mark.parametrize("child", WORK)
def test_a_child_imports_nothing_once_it_is_at_work(child: str, tmp_path: Path) -> None:
    """Then it can open no module: all odd pictures and a manifest are read with what is there."""
    if "rethreshold" in child:
        found = manifest(a=[disc((40, 30), (10, 10), 5), disc((40, 30), (12, 10), 5)])
        (tmp_path / "manifest").write_text(found.model_dump_json())
    else:
        for number, odd in enumerate(PICTURES.values()):
            data = odd.make()
            if len(data) < 1_000_000:
                (tmp_path / str(number)).write_bytes(data)
    code = IMPORTED.replace("{child}", child).replace("{work}", WORK[child])
    command = [sys.executable, "-W", "ignore", "-c", code, str(tmp_path)]
    environ = {"PYTHONPATH": str(ROOT)}
    said = subprocess.run(command, env=environ, capture_output=True, check=True, text=True)
    assert said.stdout.split() == []
