"""The second backend serves through everything that is around the seam."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from pictures import shapes
from pipeline_client import HEADERS, Open, form, predicted

from pipeline import settings
from pipeline.server import model_host
from s3_sam3.contracts.manifest import ModelInfo


ASKED = """{"options": {"threshold": 0}, "prompts": [
    {"text": "red"}, {"text": "a dog"}, {"text": "dog", "boxes": [{"xyxy": [1, 1, 50, 50]}]}
]}"""


async def test_it_serves_over_http_and_says_what_it_is(
    open_client: Open,
    lite_text_checkpoint: Path,
    make_settings: Callable[..., settings.Settings],
) -> None:
    """Texts and a box in one request; `model/info` and the manifest name the backend."""
    given = make_settings(sam3_weights_path=str(lite_text_checkpoint), sam3_device="cpu")
    client = await open_client(partial(model_host.open_segmenter, given))

    answer = await client.get("/api/v1/model/info", headers=HEADERS)
    info = ModelInfo.model_validate_json(await answer.read())
    assert (info.backend, info.dtype, info.device) == ("sam3_lite_text", "float32", "cpu")
    assert len(info.revision) == 12
    assert info.code_version

    answer = await client.post(
        "/api/v1/predict", data=form(image=shapes(), request=ASKED), headers=HEADERS
    )
    result = await predicted(answer)
    assert result.manifest.model == info
    assert [len(prompt.instances) for prompt in result.manifest.prompts] == [8, 8, 8]
