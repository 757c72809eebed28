"""A random SAM3 of 268,000 parameters on disk, and the pieces around it."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from pipeline_client import Client, Open, until
from random_sam3 import KEY, save_sam3
from random_sam3_lite_text import save_lite_text

from pipeline import settings
from pipeline.model.sam3 import Sam3Segmenter
from pipeline.model.segmentation_model import SegmentationModel
from pipeline.server import app as server
from pipeline.server import model_host
from pipeline.server.admission import Bounds
from s3_sam3.contracts import pipeline as contract


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint directory in transformers' layout, random weights."""
    return save_sam3(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="session")
def lite_text_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same for SAM3 with the small text encoder."""
    return save_lite_text(tmp_path_factory.mktemp("lite-text"))


@pytest.fixture(scope="session")
def make_settings() -> Callable[..., settings.Settings]:
    """Settings with a key and a free port: `make_settings(field=…)`."""

    def make(**fields: Any) -> settings.Settings:
        given = {"api_secret_key": KEY, "pipeline_port": 0}
        # A random model finds no circle.
        return settings.Settings.model_validate(given | {"sam3_self_test": "finite"} | fields)

    return make


@pytest.fixture
def segmenter(checkpoint: Path, make_settings: Callable[..., settings.Settings]) -> Sam3Segmenter:
    """The real segmenter on the random checkpoint, fresh for each test."""
    given = make_settings(sam3_weights_path=str(checkpoint), sam3_device="cpu")
    opened = model_host.open_segmenter(given)
    assert isinstance(opened, Sam3Segmenter)
    return opened


@pytest.fixture
async def open_client(
    make_settings: Callable[..., settings.Settings],
) -> AsyncIterator[Open]:
    """Start the app around what loads a segmenter, and wait until it is ready."""
    clients: list[Client] = []

    async def start(
        load: Callable[[], SegmentationModel], *, ready: bool = True, **bounds: int
    ) -> Client:
        app = server.create_app(make_settings(), load, Bounds(**{"side_threads": 2, **bounds}))
        client = TestClient(TestServer(app))  # cancels handlers, as __main__ does
        await client.start_server()
        clients.append(client)
        if ready:
            await until(client, contract.Health.READY)
        return client

    yield start
    for client in clients:
        await client.close()
