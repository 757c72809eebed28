"""What the listener takes from the pipeline's answer, and what it refuses to take."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from fake_pipeline import predicted

from listener.errors import PipelineBroke
from listener.pipeline_client import PipelineClient, Segmented
from pipeline.server import forms
from s3_sam3.contracts.pipeline import PredictRequest
from s3_sam3.contracts.prompts import Prompt


ASKED = PredictRequest(prompts=(Prompt(id="p0", text="dog"),))
MANIFEST = predicted(ASKED).model_dump_json(indent=7).encode()


@asynccontextmanager
async def answering(answer: Callable[[], web.Response]) -> AsyncIterator[PipelineClient]:
    """The client of a pipeline that always gives *answer*."""

    async def handler(request: web.Request) -> web.Response:
        await request.read()
        return answer()

    app = web.Application()
    app.router.add_post("/api/v1/predict", handler)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        yield PipelineClient(session, url=str(server.make_url("")).rstrip("/"), api_key="key")


async def ask(answer: Callable[[], web.Response]) -> Segmented:
    """Segment a picture."""
    async with answering(answer) as client:
        return await client.segment(b"picture", ASKED, name="7")


async def test_the_manifest_passes_through_byte_by_byte() -> None:
    """What is stored is what the pipeline wrote, down to the spaces; masks are not parsed."""
    mask = bytes(range(256)) * 4096
    found = await ask(lambda: forms.answer(MANIFEST, mask_png=mask, overlay_webp=b"RIFF"))
    assert found.manifest_json == MANIFEST
    assert (found.mask_png, found.overlay_webp) == (mask, b"RIFF")
    assert found.head.instance_count == 1


BROKEN: dict[str, Callable[[], web.Response]] = {
    "JSON": lambda: web.json_response({"manifest": {}}),
    "no form": lambda: web.Response(body=b"x", content_type="multipart/form-data"),
    "a form cut off": lambda: web.Response(
        body=b'--b\r\nContent-Disposition: form-data; name="manifest"\r\n\r\n{',
        headers={"Content-Type": "multipart/form-data; boundary=b"},
    ),
    "no pictures": lambda: forms.answer(MANIFEST),
    "no manifest": lambda: forms.answer(b"", mask_png=b"x", overlay_webp=b"x"),
    "JSON cut off": lambda: forms.answer(MANIFEST[:-1], mask_png=b"x", overlay_webp=b"x"),
    "another JSON": lambda: forms.answer(b"{}", mask_png=b"x", overlay_webp=b"x"),
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN.keys())
async def test_an_answer_that_cannot_be_read_fails_the_attempt(
    answer: Callable[[], web.Response],
) -> None:
    """
    Whatever comes instead of the three parts is the pipeline's fault.

    Negative control: the test above.
    """
    with pytest.raises(PipelineBroke):
        await ask(answer)
