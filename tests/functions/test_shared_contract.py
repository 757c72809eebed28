"""The TypeScript contract equals Python's."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from devstack.functions import deno
from listener import task_objects, webhooks
from s3_sam3 import signatures
from s3_sam3.contracts import limits, object_keys
from s3_sam3.contracts.errors import FACTS, ErrorCode


FUNCTIONS = Path(__file__).parents[2] / "supabase" / "functions"


@pytest.fixture(scope="module")
def spelled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `_shared/contract.ts` exports, and the webhook's header, as Deno reads them."""
    code = f"""
        const contract = await import("{FUNCTIONS.as_uri()}/_shared/contract.ts");
        const {{ SECRET_HEADER }} = await import(
            "{FUNCTIONS.as_uri()}/notify-listener/forwarding.ts");
        console.log(JSON.stringify({{ ...contract, SECRET_HEADER }}));
    """
    asked = subprocess.run(
        [deno.binary(), "eval", code],
        env={"DENO_DIR": str(tmp_path_factory.mktemp("deno")), "DENO_NO_UPDATE_CHECK": "1"},
        capture_output=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(asked.stdout)
    return found


def test_result_files_are_the_same(spelled: dict[str, Any]) -> None:
    """The function signs the files that the listener writes, with the listener's types."""
    assert spelled["RESULT_FILES"] == task_objects.RESULT_FILES
    names = {object_keys.MANIFEST, object_keys.MASK, object_keys.OVERLAY}
    assert task_objects.RESULT_FILES.keys() == names


def test_errors_are_the_same(spelled: dict[str, Any]) -> None:
    """A function's codes have the status, retryability and sentence of contracts/errors.py."""
    for code, fact in spelled["ERRORS"].items():
        ours = FACTS[ErrorCode(code)]

        assert fact == [ours.status, ours.retryable, ours.message]


def test_headers_and_limits_are_the_same(spelled: dict[str, Any]) -> None:
    """Names and numbers of both sides."""
    assert spelled["ID_HEADER"] == signatures.ID_HEADER
    assert spelled["TIMESTAMP_HEADER"] == signatures.TIMESTAMP_HEADER
    assert spelled["SIGNATURE_HEADER"] == signatures.SIGNATURE_HEADER
    assert spelled["TOLERANCE_SECONDS"] == signatures.TOLERANCE_SECONDS
    assert spelled["SIGNED_URL_SECONDS"] == limits.SIGNED_URL_SECONDS
    assert spelled["MAX_FILE_BYTES"] == limits.MAX_UPLOAD_BYTES
    assert spelled["SECRET_HEADER"] == webhooks.SHARED_SECRET_HEADER


def test_the_listener_asks_a_function_that_exists() -> None:
    """The name in Python is a folder of TypeScript."""
    assert (FUNCTIONS / task_objects.FUNCTION / "index.ts").is_file()
