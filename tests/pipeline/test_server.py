"""The internal contract over HTTP."""

import asyncio
import base64
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from aiohttp import FormData
from aiohttp.test_utils import TestClient, TestServer
from pictures import shapes
from PIL import Image
from random_sam3 import KEY
from typing_extensions import override

from contracts import pipeline as contract
from contracts.errors import FACTS, ErrorCode
from contracts.prompts import Prompt, SegmentOptions
from pipeline import rle, server, settings
from pipeline.errors import ModelDied, OutOfMemory, WeightsUnavailable
from pipeline.segmenter import Segmenter
from pipeline.standin import Prepared, StandinSegmenter


Client = TestClient[Any, Any]
Open = Callable[..., Awaitable[Client]]
HEADERS = {contract.API_KEY_HEADER: KEY}


class Gated(StandinSegmenter):
    """A stand-in whose model step waits for a gate, or raises what it is told."""

    def __init__(self) -> None:
        """Be open."""
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)
        self.error: Exception | None = None
        self.found: list[str] = []

    @override
    def find(self, prepared: Prepared, options: SegmentOptions) -> Prepared:
        """Wait, then raise or pass on."""
        self.entered.release()
        assert self.gate.wait(20)
        self.found.append(prepared.wanted[0][0].text or "")
        if self.error:
            raise self.error
        return super().find(prepared, options)


@pytest.fixture
async def open_client(
    make_settings: Callable[..., settings.Settings],
) -> AsyncIterator[Open]:
    """Start the app around what loads a segmenter, and wait until it is ready."""
    clients: list[Client] = []

    async def start(load: Callable[[], Segmenter], *, ready: bool = True, **options: Any) -> Client:
        app = server.create_app(make_settings(), load, **options)
        client = TestClient(TestServer(app))  # cancels handlers, as __main__ does
        await client.start_server()
        clients.append(client)
        if ready:
            await until(client, contract.Health.READY)
        return client

    yield start
    for client in clients:
        await client.close()


async def until(client: Client, *states: contract.Health) -> contract.HealthAnswer:
    """Ask for the health until it is one of *states*."""
    async with asyncio.timeout(10):
        while True:
            answer = await client.get("/health")
            assert answer.status == 200
            health = contract.HealthAnswer.model_validate_json(await answer.read())
            if health.status in states:
                return health


async def become(condition: Callable[..., bool]) -> None:
    """Wait until the condition holds, at most ten seconds."""
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.005)
    pytest.fail("the condition never held")


def form(
    *texts: str,
    image: bytes | None = None,
    request: str | None = None,
    number: str = "",
    into: FormData | None = None,
) -> FormData:
    """A form of one picture with text prompts, or two parts more in a form."""
    asked = contract.PredictRequest(prompts=tuple(Prompt(text=text) for text in texts or ("red",)))
    body = FormData() if into is None else into
    body.add_field(f"request{number}", asked.model_dump_json() if request is None else request)
    body.add_field(
        f"image{number}", shapes() if image is None else image, filename="x", content_type="x/y"
    )
    return body


async def predict(client: Client, *texts: str, **options: Any) -> Any:
    """Post one picture."""
    return await client.post("/api/v1/predict", data=form(*texts, **options), headers=HEADERS)


async def code_of(answer: Any) -> ErrorCode:
    """The code of an error answer, whose form and status are checked on the way."""
    body = await answer.json()
    error = body["error"]
    assert error.keys() == {"code", "message", "retryable"}
    code = ErrorCode(error["code"])
    assert answer.status == FACTS[code].status
    assert error["retryable"] is FACTS[code].retryable
    assert error["message"]
    return code


async def test_a_picture_is_segmented(open_client: Open) -> None:
    """The answer is the contract's: manifest, label map and overlay that agree."""
    client = await open_client(StandinSegmenter)
    answer = await predict(client, "red circle", "blue square", "dog")
    assert answer.status == 200
    result = contract.PredictAnswer.model_validate_json(await answer.read())
    manifest = result.manifest
    assert (manifest.image.width, manifest.image.height) == (320, 240)
    assert manifest.model.name == "standin"
    assert manifest.instance_count == 2
    labels = np.asarray(Image.open(BytesIO(result.mask_png)))
    for prompt in manifest.prompts[:2]:
        [instance] = prompt.instances
        assert np.array_equal(labels == instance.label, rle.decode(instance.rle) == 1)
    assert Image.open(BytesIO(result.overlay_webp)).size == (320, 240)
    timings = manifest.timings
    assert timings.total_ms >= timings.decode_ms + timings.model_ms + timings.post_ms > 0


async def test_the_pictures_travel_as_base64(open_client: Open) -> None:
    """A client without our types decodes them too."""
    client = await open_client(StandinSegmenter)
    body = json.loads(await (await predict(client, "red")).read())
    assert base64.urlsafe_b64decode(body["mask_png"]).startswith(b"\x89PNG")


PATHS = [
    ("POST", "/api/v1/predict"),
    ("POST", "/api/v1/predict/batch"),
    ("GET", "/api/v1/model/info"),
    ("GET", "/metrics"),
    ("GET", "/unknown"),
]


@pytest.mark.parametrize(("method", "path"), PATHS)
@pytest.mark.parametrize("key", [None, "", "wrong", KEY + "x", KEY[:-1], "ключ"])
async def test_a_wrong_key_opens_nothing(
    open_client: Open, method: str, path: str, key: str | None
) -> None:
    """
    Without the exact key everything but `/health` is 401.

    Negative control: with it, no path is.
    """
    client = await open_client(StandinSegmenter)
    headers = {} if key is None else {contract.API_KEY_HEADER: key}
    answer = await client.request(method, path, headers=headers)
    assert await code_of(answer) is ErrorCode.UNAUTHENTICATED
    assert (await client.request(method, path, headers=HEADERS)).status != 401


async def test_health_tells_the_states(open_client: Open) -> None:
    """Starting, ready, busy and ready again; requests before the model are told to come back."""
    loading, segmenter = threading.Event(), Gated()

    def load() -> Segmenter:
        assert loading.wait(20)
        return segmenter

    client = await open_client(load, ready=False)
    await until(client, contract.Health.STARTING)
    early = await predict(client, "red")
    assert await code_of(early) is ErrorCode.MODEL_UNAVAILABLE
    assert int(early.headers["Retry-After"]) > 0
    loading.set()
    health = await until(client, contract.Health.READY)
    assert health.model == segmenter.info
    segmenter.gate.clear()
    running = asyncio.create_task(predict(client, "red"))
    await until(client, contract.Health.BUSY)
    segmenter.gate.set()
    assert (await running).status == 200
    await until(client, contract.Health.READY)


@pytest.mark.parametrize(
    ("error", "said"),
    [(WeightsUnavailable("Set HF_TOKEN."), "Set HF_TOKEN."), (KeyError("x"), "Setup crashed")],
)
async def test_a_failed_setup_gives_its_reason(
    open_client: Open, error: Exception, said: str
) -> None:
    """The server stays, `/health` says why, requests get the reason too."""

    def load() -> Segmenter:
        raise error

    client = await open_client(load, ready=False)
    health = await until(client, contract.Health.SETUP_FAILED)
    assert said in (health.reason or "")
    answer = await predict(client, "red")
    assert said in (await answer.json())["error"]["message"]
    assert await code_of(answer) is ErrorCode.MODEL_UNAVAILABLE


async def test_a_lost_gpu_makes_the_process_defunct(open_client: Open) -> None:
    """After a fatal CUDA error nothing is tried again, and `/health` says so."""
    segmenter = Gated()
    segmenter.error = ModelDied()
    client = await open_client(lambda: segmenter)
    assert await code_of(await predict(client, "red")) is ErrorCode.MODEL_UNAVAILABLE
    assert (await until(client, contract.Health.DEFUNCT)).reason
    assert await code_of(await predict(client, "red")) is ErrorCode.MODEL_UNAVAILABLE
    assert segmenter.found == ["red"]


@pytest.mark.parametrize(
    ("error", "code"),
    [(OutOfMemory(), ErrorCode.OUT_OF_MEMORY), (ZeroDivisionError(), ErrorCode.INTERNAL)],
)
async def test_a_failure_on_one_picture_leaves_the_next_alone(
    open_client: Open, error: Exception, code: ErrorCode
) -> None:
    """One picture's error is its own."""
    segmenter = Gated()
    segmenter.error = error
    client = await open_client(lambda: segmenter)
    assert await code_of(await predict(client, "red")) is code
    segmenter.error = None
    assert (await predict(client, "red")).status == 200


async def test_waiting_is_bounded(open_client: Open) -> None:
    """One in the model and one waiting: the third gets 503 at once, with a time to come back."""
    segmenter = Gated()
    segmenter.gate.clear()
    client = await open_client(lambda: segmenter, waiting=1)
    tasks = [asyncio.create_task(predict(client, text)) for text in ("red", "blue")]
    await become(lambda: client.app[server.LANE].inside == 2)
    refused = await predict(client, "third")
    assert await code_of(refused) is ErrorCode.MODEL_UNAVAILABLE
    assert refused.headers["Retry-After"]
    segmenter.gate.set()
    assert [answer.status for answer in await asyncio.gather(*tasks)] == [200, 200]
    assert (await predict(client, "third")).status == 200


async def test_a_caller_that_hangs_up_withdraws_its_work(open_client: Open) -> None:
    """
    Work that still waits never reaches the model when its caller is gone.

    Negative control: the work of the caller behind it does.
    """
    segmenter = Gated()
    segmenter.gate.clear()
    client = await open_client(lambda: segmenter)
    lane = client.app[server.LANE]
    tasks = {}
    for number, text in enumerate(("red", "gone", "behind"), 1):
        tasks[text] = asyncio.create_task(predict(client, text))
        await become(lambda count=number: lane.inside == count)
    await asyncio.to_thread(segmenter.entered.acquire)
    await become(lambda: lane._model._work_queue.qsize() == 2)
    tasks["gone"].cancel()
    await become(lambda: lane.inside == 2)
    segmenter.gate.set()
    await asyncio.gather(tasks["red"], tasks["behind"])
    assert segmenter.found == ["red", "behind"]


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
    client = await open_client(StandinSegmenter)
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
        '{"prompts": [{"boxes": [{"xyxy": [9000, 0, 9001, 1]}]}]}',
    ],
)
async def test_requests_that_do_not_fit_are_refused(open_client: Open, request_json: str) -> None:
    """A wrong request names what is wrong."""
    client = await open_client(StandinSegmenter)
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
    client = await open_client(StandinSegmenter)
    assert await code_of(await predict(client, image=image)) is code


async def test_prompts_have_their_own_codes(open_client: Open) -> None:
    """An empty and a too long prompt are told apart."""
    client = await open_client(StandinSegmenter)
    empty = await predict(client, request='{"prompts": [{"text": " "}]}')
    assert await code_of(empty) is ErrorCode.PROMPT_EMPTY
    assert await code_of(await predict(client, "x" * 401)) is ErrorCode.PROMPT_TOO_LONG


async def test_unknown_paths_and_methods(open_client: Open) -> None:
    """404 and 405 have the same form; the latter names what is allowed."""
    client = await open_client(StandinSegmenter)
    assert await code_of(await client.get("/nothing", headers=HEADERS)) is ErrorCode.NOT_FOUND
    answer = await client.get("/api/v1/predict", headers=HEADERS)
    assert await code_of(answer) is ErrorCode.METHOD_NOT_ALLOWED
    assert answer.headers["Allow"] == "POST"


async def test_a_batch_answers_each_picture(open_client: Open) -> None:
    """Results in order; a bad picture has an error in its place and spoils no other."""
    client = await open_client(StandinSegmenter)
    batch = FormData()
    for number, image in enumerate((shapes(), b"GIF89a", shapes((64, 48)))):
        form("red", image=image, number=str(number), into=batch)
    answer = await client.post("/api/v1/predict/batch", data=batch, headers=HEADERS)
    first, second, third = await answer.json()
    assert first["result"]["manifest"]["image"] == {"width": 320, "height": 240}
    assert second["error"]["code"] == "unsupported_media_type"
    assert third["result"]["manifest"]["image"] == {"width": 64, "height": 48}


async def test_a_batch_with_a_gap_is_refused(open_client: Open) -> None:
    """image1 without image0, or no picture at all, is no batch."""
    client = await open_client(StandinSegmenter)
    gap = form("red", number="1")
    answer = await client.post("/api/v1/predict/batch", data=gap, headers=HEADERS)
    assert await code_of(answer) is ErrorCode.INVALID_REQUEST
    answer = await client.post("/api/v1/predict/batch", data=b"--b--", headers=MULTIPART)
    assert await code_of(answer) is ErrorCode.INVALID_REQUEST


async def test_metrics_count(open_client: Open) -> None:
    """Pictures, instances and refusals appear in Prometheus' text format."""
    client = await open_client(StandinSegmenter)
    await predict(client, "shape")
    await predict(client, image=b"GIF89a")
    answer = await client.get("/metrics", headers=HEADERS)
    lines = (await answer.text()).splitlines()
    assert answer.content_type == "text/plain"
    assert "s3_pipeline_instances_total 2" in lines
    assert 's3_pipeline_requests_total{path="/api/v1/predict",code="ok"} 1' in lines
    refused = 's3_pipeline_requests_total{path="/api/v1/predict",code="unsupported_media_type"} 1'
    assert refused in lines
    assert "s3_pipeline_ready 1" in lines


async def test_model_info_is_the_contracts(open_client: Open) -> None:
    """Who asks for the model gets what manifests carry."""
    client = await open_client(StandinSegmenter)
    answer = await client.get("/api/v1/model/info", headers=HEADERS)
    assert await answer.json() == StandinSegmenter().info.model_dump()
