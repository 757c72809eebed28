"""What the pipeline's server answers to forms, pictures and questions."""

import asyncio
import json

import pytest
from pictures import shapes
from pipeline_client import HEADERS, Gated, Open, code_of, predict, predicted

from pipeline.model.fake_model import FakeSegmenter
from pipeline.server.answers import Metrics
from s3_sam3.contracts import pipeline as contract
from s3_sam3.contracts.errors import ErrorCode
from s3_sam3.contracts.prompts import Prompt, SegmentOptions


PART = b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
MULTIPART = {"Content-Type": "multipart/form-data; boundary=b", **HEADERS}


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (HEADERS, b"{}"),
        ({**HEADERS, "Content-Type": "application/json"}, b"{}"),
        ({**HEADERS, "Content-Type": "multipart/form-data"}, b"--b--"),
        (MULTIPART, b""),
        (MULTIPART, b"garbage without any boundary"),
        (MULTIPART, b"--b\r\nno header end"),
        (MULTIPART, b"--b--\r\n"),
        (MULTIPART, PART % (b"image", b"x") + b"--b--\r\n"),
        (MULTIPART, PART % (b"other", b"x") + b"--b--\r\n"),
        (MULTIPART, PART % (b"request", b"{}") * 2 + b"--b--\r\n"),
        (MULTIPART, b"--b\r\n" + b"X: " + b"y" * 20_000 + b"\r\n\r\nx\r\n--b--\r\n"),
    ],
)
async def test_hostile_forms_are_refused(
    open_client: Open, headers: dict[str, str], body: bytes
) -> None:
    """Whatever is sent instead of the form is a 400 with a reason, never a 500."""
    client = await open_client(FakeSegmenter)
    answer = await client.post("/api/v1/predict", data=body, headers=headers)
    assert await code_of(answer) is ErrorCode.INVALID_REQUEST


@pytest.mark.parametrize(
    "request_json",
    [
        "",
        "[]",
        "nope",
        "{}",
        '{"prompts": []}',
        '{"prompts": [{"text": "a"}], "extra": 1}',
        '{"prompts": [{"text": "a", "threshold": 2}]}',
        '{"prompts": [{"boxes": [{"xyxy": [5, 5, 1, 1]}]}]}',
        '{"prompts": [{"boxes": [{"xyxy": [0, 0, NaN, 1]}]}]}',
        '{"prompts": [' + ",".join(['{"text": "a"}'] * 17) + "]}",
    ],
)
async def test_requests_that_do_not_fit_are_refused(open_client: Open, request_json: str) -> None:
    """A wrong request names what is wrong."""
    client = await open_client(FakeSegmenter)
    answer = await predict(client, request=request_json)
    assert await code_of(answer) is ErrorCode.INVALID_REQUEST


@pytest.mark.parametrize(
    ("image", "code"),
    [
        (b"", ErrorCode.EMPTY_BODY),
        (b"GIF89a", ErrorCode.UNSUPPORTED_MEDIA_TYPE),
        (shapes()[:500], ErrorCode.INVALID_IMAGE),
        (b"\xff\xd8\xff" + b"x" * (50 * 1024 * 1024), ErrorCode.FILE_TOO_LARGE),
    ],
)
async def test_bad_pictures_are_refused(open_client: Open, image: bytes, code: ErrorCode) -> None:
    """Empty, of another kind, cut off, or too large: each has its code."""
    client = await open_client(FakeSegmenter)
    assert await code_of(await predict(client, image=image)) is code


async def test_prompts_have_their_own_codes(open_client: Open) -> None:
    """An empty and a too long prompt are told apart."""
    client = await open_client(FakeSegmenter)
    empty = await predict(client, request='{"prompts": [{"text": " "}]}')
    assert await code_of(empty) is ErrorCode.PROMPT_EMPTY
    assert await code_of(await predict(client, "x" * 401)) is ErrorCode.PROMPT_TOO_LONG


@pytest.mark.parametrize(
    "request_json",
    [
        '{"prompts": [{"boxes": [{"xyxy": [9000, 0, 9001, 1]}]}]}',
        '{"prompts": [{"text": "a"}], "options": {"region": [9000, 0, 9001, 1]}}',
        '{"prompts": [{"boxes": [{"xyxy": [0, 0, 5, 5]}]}], "options": {"region": [9, 9, 20, 20]}}',
    ],
)
async def test_what_lies_outside_is_refused(open_client: Open, request_json: str) -> None:
    """A box or a region outside of the picture, and a box outside of the region."""
    client = await open_client(FakeSegmenter)
    answer = await predict(client, request=request_json)
    assert await code_of(answer) is ErrorCode.PROMPT_INVALID


async def test_unknown_paths_and_methods(open_client: Open) -> None:
    """404 and 405 have the same form; the latter names what is allowed."""
    client = await open_client(FakeSegmenter)
    assert await code_of(await client.get("/nothing", headers=HEADERS)) is ErrorCode.NOT_FOUND
    answer = await client.get("/api/v1/predict", headers=HEADERS)
    assert await code_of(answer) is ErrorCode.METHOD_NOT_ALLOWED
    assert answer.headers["Allow"] == "POST"


async def test_a_request_that_is_not_done_in_time_is_given_up(open_client: Open) -> None:
    """
    Its own seconds are over while the model is busy: 504 at once, and the model never takes it on.

    Negative control: a request behind it, without a deadline, is answered.
    """
    segmenter = Gated()
    segmenter.gate.clear()
    client = await open_client(lambda: segmenter)
    first = asyncio.create_task(predict(client, "red"))
    await asyncio.to_thread(segmenter.entered.acquire)
    hurried = contract.PredictRequest(prompts=(Prompt(text="hurried"),), seconds=0.05)
    answer = await predict(client, request=hurried.model_dump_json())
    assert await code_of(answer) is ErrorCode.DEADLINE_EXCEEDED
    behind = asyncio.create_task(predict(client, "blue"))
    segmenter.gate.set()
    assert [(await one).status for one in (first, behind)] == [200, 200]
    assert segmenter.found == ["red", "blue"]


@pytest.mark.parametrize(
    ("ids", "differ"), [(("a", "a"), False), (("p1", None), False), (("p0", None), True)]
)
async def test_the_ids_of_prompts_differ(
    open_client: Open, ids: tuple[str | None, ...], *, differ: bool
) -> None:
    """
    Two prompts of one name are refused, as by the API; one without is named by its place.

    Negative control: names that differ are served.
    """
    client = await open_client(FakeSegmenter)
    prompts = [{"id": name, "text": "red"} for name in ids]
    answer = await predict(client, request=json.dumps({"prompts": prompts}))
    assert answer.status == 200 if differ else await code_of(answer) is ErrorCode.INVALID_REQUEST


async def test_pictures_are_drawn_only_if_wanted(open_client: Open) -> None:
    """
    Without pictures the answer is the same manifest, and both are empty.

    Negative control: by default they are there.
    """
    client = await open_client(FakeSegmenter)
    prompts = (Prompt(text="red circle"),)
    answers = []
    for pictures in (True, False):
        asked = contract.PredictRequest(prompts=prompts, pictures=pictures)
        answer = await predict(client, request=asked.model_dump_json())
        answers.append(await predicted(answer))
    drawn, bare = answers
    assert drawn.manifest.prompts == bare.manifest.prompts
    assert (bare.mask_png, bare.overlay_webp) == (b"", b"")
    assert drawn.mask_png
    assert drawn.overlay_webp


async def test_the_manifest_says_what_was_asked(open_client: Open) -> None:
    """The options come back with the answer, so that a re-threshold can keep them."""
    client = await open_client(FakeSegmenter)
    options = SegmentOptions(threshold=0.9, region=(10, 10, 300, 200), nms=0.7)
    asked = contract.PredictRequest(prompts=(Prompt(text="red"),), options=options)
    answer = await predict(client, request=asked.model_dump_json())
    result = await predicted(answer)
    assert result.manifest.options == options


async def test_metrics_count(open_client: Open) -> None:
    """Pictures, instances and refusals appear in Prometheus' text format."""
    client = await open_client(FakeSegmenter)
    await predict(client, "shape")
    await predict(client, image=b"GIF89a")
    answer = await client.get("/metrics", headers=HEADERS)
    lines = (await answer.text()).splitlines()
    assert answer.content_type == "text/plain"
    assert "s3_pipeline_instances_total 2.0" in lines
    for code in ("ok", "unsupported_media_type"):
        counted = f's3_pipeline_requests_total{{code="{code}",path="/api/v1/predict"}} 1.0'
        assert counted in lines
    assert "s3_pipeline_ready 1.0" in lines


async def test_model_info_is_the_contracts(open_client: Open) -> None:
    """Who asks for the model gets what manifests carry."""
    client = await open_client(FakeSegmenter)
    answer = await client.get("/api/v1/model/info", headers=HEADERS)
    assert await answer.json() == FakeSegmenter().info.model_dump()


def test_figures_are_written_by_family() -> None:
    """Samples of one name stand together under its type, which its ending says."""
    figures = {'hits_total{tier="b"}': 2, 'hits_total{tier="a"}': 1, "bytes": 3}
    lines = Metrics(lambda: figures).text().decode().splitlines()
    assert [line for line in lines if line.startswith("# TYPE")][-2:] == [
        "# TYPE s3_pipeline_hits_total counter",
        "# TYPE s3_pipeline_bytes gauge",
    ]
    assert [line for line in lines if not line.startswith("#")][-3:] == [
        's3_pipeline_hits_total{tier="b"} 2.0',
        's3_pipeline_hits_total{tier="a"} 1.0',
        "s3_pipeline_bytes 3.0",
    ]
