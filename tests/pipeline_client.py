"""The internal contract over HTTP, as its tests speak it."""

import asyncio
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import BodyPartReader, ClientResponse, FormData, MultipartReader
from aiohttp.test_utils import TestClient
from pictures import shapes
from random_sam3 import KEY
from typing_extensions import override

from pipeline.model.fake_model import FakeRequest, FakeSegmenter
from s3_sam3.contracts import pipeline as contract
from s3_sam3.contracts.errors import FACTS, ErrorCode
from s3_sam3.contracts.manifest import Manifest
from s3_sam3.contracts.prompts import Prompt


Client = TestClient[Any, Any]
Open = Callable[..., Awaitable[Client]]
HEADERS = {contract.API_KEY_HEADER: KEY}


def command(**bounds: int) -> list[str]:
    """`python -m pipeline` with other bounds than its own."""
    imports = "from pipeline.__main__ import main; from pipeline.server.admission import Bounds"
    return [sys.executable, "-c", f"{imports}; raise SystemExit(main(Bounds(**{bounds})))"]


class Log:
    """What a started pipeline logs; read in a thread, since a full pipe would hold it up."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        """Read from now on."""
        self._process = process
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._seen: list[dict[str, Any]] = []
        self._other: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stderr
        for line in self._process.stderr:
            self._lines.put(line)
        self._lines.put("")

    def line(self, event: str) -> dict[str, Any]:
        """Give the entry of *event*, which may stand among those read already."""
        for entry in self._seen:
            if entry["event"] == event:
                return entry
        while text := self._lines.get(timeout=120):
            if not text.startswith("{"):
                self._other.append(text)
                continue
            self._seen.append(json.loads(text))
            if self._seen[-1]["event"] == event:
                return self._seen[-1]
        pytest.fail(f"no {event} in the log: {self._seen} {''.join(self._other)}")


class Gated(FakeSegmenter):
    """A fake model whose model step waits for a gate, or raises what it is told."""

    def __init__(self) -> None:
        """Be open."""
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)
        self.error: Exception | None = None
        self.found: list[str] = []

    @override
    def find(self, requests: Sequence[FakeRequest]) -> None:
        """Wait, then raise or pass on."""
        self.entered.release()
        assert self.gate.wait(20)
        self.found.append(requests[0].asked[0][0].text or "")
        if self.error:
            raise self.error
        super().find(requests)


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


def form(*texts: str, image: bytes | None = None, request: str | None = None) -> FormData:
    """A form of one picture with text prompts."""
    asked = contract.PredictRequest(prompts=tuple(Prompt(text=text) for text in texts or ("red",)))
    body = FormData()
    body.add_field("request", asked.model_dump_json() if request is None else request)
    body.add_field("image", shapes() if image is None else image, filename="x", content_type="x/y")
    return body


async def predict(client: Client, *texts: str, **options: Any) -> Any:
    """Post one picture."""
    return await client.post("/api/v1/predict", data=form(*texts, **options), headers=HEADERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """What came back; a drawing that is absent is empty."""

    manifest: Manifest
    mask_png: bytes
    overlay_webp: bytes


async def predicted(answer: ClientResponse) -> Predicted:
    """Read the form that answers a picture."""
    assert answer.status == 200
    parts: dict[str | None, bytes] = {}
    async for part in MultipartReader.from_response(answer):
        assert isinstance(part, BodyPartReader)
        parts[part.name] = bytes(await part.read())
    return Predicted(
        manifest=Manifest.model_validate_json(parts.pop(contract.MANIFEST_PART)),
        mask_png=parts.pop(contract.MASK_PART, b""),
        overlay_webp=parts.pop(contract.OVERLAY_PART, b""),
    )


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
