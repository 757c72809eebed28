"""`python -m pipeline` as an operator starts it."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pictures import shapes
from pipeline_client import Log, become, predicted
from random_sam3 import KEY

from listener.pipeline_client import ModelWatch, PipelineClient
from s3_sam3.contracts import pipeline as contract
from s3_sam3.contracts.prompts import Prompt


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start the process with an environment: `start(SAM3_WEIGHTS_PATH=…)`."""
    processes: list[subprocess.Popen[str]] = []
    ours = ("SAM3_", "PIPELINE_", "HF_", "API_SECRET_KEY", "S3_")
    clean = {key: value for key, value in os.environ.items() if not key.startswith(ours)}

    def begin(**environment: str) -> subprocess.Popen[str]:
        given = {"PIPELINE_PORT": "0", "HF_HOME": str(tmp_path)}
        given["SAM3_SELF_TEST"] = "finite"  # a random model finds no circle
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline"],
            env={**clean, **given, **environment},
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield begin
    for process in processes:
        process.kill()
        process.wait()


def line(process: subprocess.Popen[str], event: str) -> dict[str, Any]:
    """Give the log line of *event*."""
    log: Log = vars(process).setdefault("log", None) or Log(process)
    vars(process)["log"] = log
    return log.line(event)


async def test_the_fake_model_serves_and_stops_on_a_signal(start: Start) -> None:
    """Start, URL in the log, ready, one picture, SIGTERM, exit code 0."""
    process = start(API_SECRET_KEY=KEY, SAM3_WEIGHTS_PATH="fake:")
    url = line(process, "pipeline_listening")["url"]
    line(process, "setup_done")
    form = aiohttp.FormData()
    asked = contract.PredictRequest(prompts=(Prompt(text="red circle"),))
    form.add_field("request", asked.model_dump_json())
    form.add_field("image", shapes(), filename="x")
    async with aiohttp.ClientSession(headers={contract.API_KEY_HEADER: KEY}) as session:
        async with session.post(f"{url}/api/v1/predict", data=form) as answer:
            result = await predicted(answer)
        assert result.manifest.instance_count == 1
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0


async def test_the_real_model_serves(start: Start, checkpoint: Path) -> None:
    """The random checkpoint loads in the process and answers through HTTP."""
    process = start(API_SECRET_KEY=KEY, SAM3_WEIGHTS_PATH=str(checkpoint), SAM3_DEVICE="cpu")
    url = line(process, "pipeline_listening")["url"]
    assert line(process, "setup_done")["name"] == "sam3"
    form = aiohttp.FormData()
    asked = '{"prompts": [{"text": "red", "threshold": 0}, {"boxes": [{"xyxy": [1, 1, 50, 50]}]}]}'
    form.add_field("request", asked)
    form.add_field("image", shapes(), filename="x")
    async with (
        aiohttp.ClientSession(headers={contract.API_KEY_HEADER: KEY}) as session,
        session.post(f"{url}/api/v1/predict", data=form) as answer,
    ):
        result = await predicted(answer)
    assert len(result.manifest.prompts[0].instances) == 8


async def test_without_weights_the_reason_stands_in_health(start: Start) -> None:
    """No path, no token, no network: the process stays and says what to set."""
    process = start(API_SECRET_KEY=KEY, HF_HUB_OFFLINE="1")
    url = line(process, "pipeline_listening")["url"]
    assert "HF_TOKEN are empty" in line(process, "setup_failed")["reason"]
    async with aiohttp.ClientSession() as session, session.get(f"{url}/health") as answer:
        health = contract.HealthAnswer.model_validate_json(await answer.read())
    assert health.status is contract.Health.SETUP_FAILED
    assert "SAM3_WEIGHTS_PATH" in (health.reason or "")


async def test_a_model_that_fails_its_self_test_is_not_worked_with(
    start: Start, checkpoint: Path
) -> None:
    """
    A random model finds no red circle: the process says so, and the listener claims nothing.

    Negative control: `finite` lets the same model serve.
    """
    given = {"API_SECRET_KEY": KEY, "SAM3_WEIGHTS_PATH": str(checkpoint), "SAM3_DEVICE": "cpu"}
    async with aiohttp.ClientSession() as session:
        for level, event, working in (
            ("picture", "setup_failed", False),
            ("finite", "setup_done", True),
        ):
            process = start(**given, SAM3_SELF_TEST=level)
            url = line(process, "pipeline_listening")["url"]
            line(process, event)
            watch = ModelWatch(PipelineClient(session, url=url, api_key=KEY))
            look = asyncio.create_task(watch.run())
            await become(lambda watch=watch: watch._last is not None)
            assert watch._working.is_set() is working
            assert working or "failed its self-test" in str(watch._last)
            look.cancel()


async def test_the_log_hides_secrets(start: Start) -> None:
    """
    What looks like a token is not in it, wherever it stood.

    Negative control: the rest of the same line is.
    """
    process = start(API_SECRET_KEY=KEY, SAM3_WEIGHTS_PATH="fake:")
    url = line(process, "pipeline_listening")["url"]
    headers = {contract.API_KEY_HEADER: KEY}
    async with aiohttp.ClientSession(headers=headers) as session:
        await session.get(f"{url}/lost/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl")
    assert line(process, "request_refused")["path"] == "/lost/***"


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "set API_SECRET_KEY (the pipeline's key"),
        ({"API_SECRET_KEY": ""}, "openssl rand -hex 32"),
        ({"API_SECRET_KEY": KEY, "PIPELINE_PORT": "x"}, "correct PIPELINE_PORT ("),
        ({"API_SECRET_KEY": KEY, "SAM3_DEVICE": "tpu"}, "correct SAM3_DEVICE ("),
    ],
)
def test_unusable_settings_are_named(start: Start, environment: dict[str, str], said: str) -> None:
    """One sentence on standard error, exit code 78, and no value in it."""
    process = start(**environment)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 78
    assert said in errors
    assert KEY not in errors


async def test_a_port_that_is_taken_is_said(start: Start) -> None:
    """The second process on a port ends with a sentence."""
    first = start(API_SECRET_KEY=KEY, SAM3_WEIGHTS_PATH="fake:")
    port = line(first, "pipeline_listening")["url"].rsplit(":", 1)[1]
    second = start(API_SECRET_KEY=KEY, SAM3_WEIGHTS_PATH="fake:", PIPELINE_PORT=port)
    assert "address already in use" in line(second, "start_failed")["reason"]
    assert second.wait(20) == 1
