"""The pipeline's server: keys, states, failures, waiting."""

import asyncio
import json
import threading
from email import message_from_bytes, policy
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from pipeline_client import HEADERS, Gated, Open, become, code_of, predict, predicted, until
from random_sam3 import KEY

from pipeline.errors import ModelDied, OutOfMemory, WeightsUnavailable
from pipeline.model.fake_model import FakeSegmenter
from pipeline.model.segmentation_model import SegmentationModel
from pipeline.server import app
from s3_sam3.contracts import pipeline as contract
from s3_sam3.contracts.errors import ErrorCode
from s3_sam3.imaging import rle


async def test_a_picture_is_segmented(open_client: Open) -> None:
    """The answer is the contract's: manifest, label map and overlay that agree."""
    client = await open_client(FakeSegmenter)
    answer = await predict(client, "red circle", "blue square", "dog")
    assert answer.status == 200
    result = await predicted(answer)
    manifest = result.manifest
    assert (manifest.image.width, manifest.image.height) == (320, 240)
    assert manifest.model.name == "fake"
    assert manifest.instance_count == 2
    labels = np.asarray(Image.open(BytesIO(result.mask_png)))
    for prompt in manifest.prompts[:2]:
        [instance] = prompt.instances
        assert np.array_equal(labels == instance.label, rle.decode(instance.rle) == 1)
    assert Image.open(BytesIO(result.overlay_webp)).size == (320, 240)
    timings = manifest.timings
    assert timings.total_ms >= timings.decode_ms + timings.model_ms + timings.post_ms > 0


async def test_any_reader_of_mail_reads_the_answer(open_client: Open) -> None:
    """The parts are named and typed as the contract says, for clients without our types."""
    client = await open_client(FakeSegmenter)
    answer = await predict(client, "red")
    head = f"Content-Type: {answer.headers['Content-Type']}\n\n".encode()
    form = message_from_bytes(head + await answer.read(), policy=policy.HTTP)
    assert form.get_content_type() == "multipart/form-data"
    parts = {
        part.get_param("name", header="content-disposition"): part for part in form.iter_parts()
    }
    assert {name: part.get_content_type() for name, part in parts.items()} == contract.ANSWER_TYPES
    assert json.loads(parts["manifest"].get_content())["version"] == 1
    assert parts["mask"].get_content().startswith(b"\x89PNG")
    assert parts["overlay"].get_content().startswith(b"RIFF")


PATHS = [
    ("POST", "/api/v1/predict"),
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
    client = await open_client(FakeSegmenter)
    headers = {} if key is None else {contract.API_KEY_HEADER: key}
    answer = await client.request(method, path, headers=headers)
    assert await code_of(answer) is ErrorCode.UNAUTHENTICATED
    assert (await client.request(method, path, headers=HEADERS)).status != 401


async def test_health_tells_the_states(open_client: Open) -> None:
    """Starting, ready, busy and ready again; requests before the model are told to come back."""
    loading, segmenter = threading.Event(), Gated()

    def load() -> SegmentationModel:
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

    def load() -> SegmentationModel:
        raise error

    client = await open_client(load, ready=False)
    health = await until(client, contract.Health.SETUP_FAILED)
    assert said in (health.reason or "")
    answer = await predict(client, "red")
    assert said in (await answer.json())["error"]["message"]
    assert await code_of(answer) is ErrorCode.MODEL_UNAVAILABLE


async def test_a_lost_gpu_makes_the_process_defunct(open_client: Open) -> None:
    """
    After a fatal CUDA error nothing is tried again, and `/health` says so.

    The picture it died over has failed, so that one which kills each time comes to an end.
    """
    segmenter = Gated()
    segmenter.error = ModelDied()
    client = await open_client(lambda: segmenter)
    assert await code_of(await predict(client, "red")) is ErrorCode.PIPELINE_FAILED
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
    client = await open_client(lambda: segmenter, requests=2)
    tasks = [asyncio.create_task(predict(client, text)) for text in ("red", "blue")]
    await become(lambda: client.app[app.ADMISSION].inside == 2)
    refused = await predict(client, "third")
    assert await code_of(refused) is ErrorCode.MODEL_UNAVAILABLE
    assert int(refused.headers["Retry-After"]) >= 1
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
    admission = client.app[app.ADMISSION]
    waiting = client.app[app.PREDICTOR].executor.waiting
    tasks = {}
    for number, text in enumerate(("red", "gone", "behind"), 1):
        tasks[text] = asyncio.create_task(predict(client, text))
        await become(lambda count=number: len(waiting) == count)
    await asyncio.to_thread(segmenter.entered.acquire)
    tasks["gone"].cancel()
    await become(lambda: admission.inside == 2)
    segmenter.gate.set()
    await asyncio.gather(tasks["red"], tasks["behind"])
    assert segmenter.found == ["red", "behind"]
