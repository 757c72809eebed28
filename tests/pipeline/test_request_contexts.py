"""A request under way, over HTTP: how far it is, how it is ended, how it runs out of memory."""

import asyncio
import threading
from typing import Any

import pytest
from pipeline_client import HEADERS, Client, Open, become, code_of, form, predict
from typing_extensions import override

from pipeline.model.fake_model import FakeSegmenter
from pipeline.model.segmentation_model import RequestContext
from pipeline.server import app
from s3_sam3.contracts import pipeline as contract
from s3_sam3.contracts.errors import ErrorCode
from s3_sam3.contracts.prompts import Prompt


SIXTEEN = tuple(f"thing {number}" for number in range(16))


class SteppedContext(RequestContext):
    """Takes one prompt for each `step.release()`; counts prompts also when nobody waits."""

    step = threading.Semaphore(0)
    deaf = False
    done = 0

    @override
    def check(self) -> None:
        """Wait for the next step, then ask, unless deaf."""
        if self.deaf:
            return
        super().check()

    @override
    def advance(self, prompts: int) -> None:
        """Wait here, in the middle of the work."""
        type(self).done += prompts
        assert self.step.acquire(timeout=20)
        super().advance(prompts)


@pytest.fixture
def stepped(monkeypatch: pytest.MonkeyPatch) -> type[SteppedContext]:
    """Every request takes its prompts step by step."""
    monkeypatch.setattr(SteppedContext, "step", threading.Semaphore(0))
    monkeypatch.setattr(SteppedContext, "deaf", False)
    monkeypatch.setattr(SteppedContext, "done", 0)
    monkeypatch.setattr(app, "RequestContext", SteppedContext)
    return SteppedContext


async def test_a_caller_that_hangs_up_ends_the_models_work(
    open_client: Open, stepped: type[SteppedContext]
) -> None:
    """Sixteen prompts, hung up during the third: no fourth one; the next request is served."""
    assert await _prompts_done_for_nobody(open_client, stepped) == 3


async def test_a_model_that_does_not_ask_works_for_nobody(
    open_client: Open, stepped: type[SteppedContext]
) -> None:
    """Negative control: without the check between prompts all sixteen are done."""
    stepped.deaf = True
    assert await _prompts_done_for_nobody(open_client, stepped) == 16


async def _prompts_done_for_nobody(open_client: Open, stepped: type[SteppedContext]) -> int:
    """Hang up during the third prompt of sixteen; how many were done when the next was served."""
    client = await open_client(FakeSegmenter)
    gone = asyncio.create_task(predict(client, *SIXTEEN))
    stepped.step.release(2)
    await become(lambda: stepped.done == 3)
    gone.cancel()
    await become(lambda: client.app[app.ADMISSION].inside == 0)
    stepped.step.release(100)
    assert (await predict(client, "red circle")).status == 200
    return stepped.done - 1


async def test_a_request_tells_how_far_it_is(
    open_client: Open, stepped: type[SteppedContext]
) -> None:
    """By its own name, prompt by prompt; under no name before and after."""
    client = await open_client(FakeSegmenter)
    assert await _progress(client) is None
    asked = asyncio.create_task(_post(client, contract.PredictRequest(prompts=_prompts("a", "b"))))
    await become(lambda: stepped.done == 1)
    assert await _progress(client) == 0
    stepped.step.release()
    await become(lambda: stepped.done == 2)
    assert await _progress(client) == 1
    stepped.step.release()
    assert (await asked).status == 200
    assert await _progress(client) is None


async def test_out_of_memory_is_said_and_survived(open_client: Open) -> None:
    """`fake:oom` never fits; `fake:oom-once` fits when frugal; the next request is served."""
    client = await open_client(FakeSegmenter)
    for texts, frugal, code in (
        (("red", "fake:oom"), False, ErrorCode.OUT_OF_MEMORY),
        (("red", "fake:oom"), True, ErrorCode.OUT_OF_MEMORY),
        (("red", "fake:oom-once"), False, ErrorCode.OUT_OF_MEMORY),
        (("red", "fake:oom-once"), True, None),
        (("red",), False, None),
    ):
        request = contract.PredictRequest(prompts=_prompts(*texts), frugal=frugal)
        answer = await _post(client, request)
        assert answer.status == 200 if code is None else await code_of(answer) is code


async def test_a_fake_models_odd_words_are_only_words(open_client: Open) -> None:
    """A wait that is no number is a word like any other."""
    client = await open_client(FakeSegmenter)
    assert (await predict(client, "fake:wait=soon", "fake:wait=-1 fake:")).status == 200


def _prompts(*texts: str) -> tuple[Prompt, ...]:
    return tuple(Prompt(text=text) for text in texts)


async def _post(client: Client, request: contract.PredictRequest) -> Any:
    headers = {**HEADERS, contract.REQUEST_ID_HEADER: "mine"}
    body = form(request=request.model_dump_json())
    return await client.post("/api/v1/predict", data=body, headers=headers)


async def _progress(client: Client) -> int | None:
    answer = await client.get("/api/v1/progress/mine", headers=HEADERS)
    if answer.status == 404:
        return None
    return contract.PredictProgress.model_validate_json(await answer.read()).computed
