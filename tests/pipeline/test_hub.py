"""Every refusal of the hub becomes one sentence that says what to do."""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from huggingface_hub import errors

from pipeline.model import hub


def refusal(kind: type[Exception], status: int) -> Exception:
    """An error as the hub's client raises it: with the answer attached."""
    error = kind.__new__(kind)
    Exception.__init__(error, "refused")
    vars(error)["response"] = httpx.Response(status)
    return error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (refusal(errors.GatedRepoError, 403), "accept the licence"),
        (refusal(errors.GatedRepoError, 401), "accept the licence"),
        (refusal(errors.HfHubHTTPError, 403), "accept the licence"),
        (refusal(errors.RepositoryNotFoundError, 401), "does not accept HF_TOKEN"),
        (refusal(errors.HfHubHTTPError, 401), "does not accept HF_TOKEN"),
        (refusal(errors.HfHubHTTPError, 500), "Start again later"),
        (errors.OfflineModeIsEnabled("offline"), "offline"),
        (OSError("No space left on device"), "out of disk"),
        (ConnectionError("refused"), "offline"),
    ],
)
def test_each_refusal_has_its_advice(error: Exception, said: str) -> None:
    """Licence, token, outage and no network are told apart, and a way without the hub is named."""
    advice = hub.advice(error)
    assert said in advice
    assert "SAM3_WEIGHTS_PATH" in advice


def fetched(tmp_path: Path, **environment: str) -> str:
    """What `fetch` says offline, in a process of its own (the hub's client reads it once)."""
    code = (
        "import os, json; from pipeline import errors; from pipeline.model import hub\n"
        "try: print(hub.fetch(os.environ.get('HF_TOKEN')))\n"
        "except errors.WeightsUnavailable as error: print(json.dumps(error.message))"
    )
    clean = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**clean, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_without_token_it_says_what_to_set(tmp_path: Path) -> None:
    """Nothing set at all: both ways are named."""
    said = json.loads(fetched(tmp_path))
    assert "SAM3_WEIGHTS_PATH and HF_TOKEN are empty" in said


def test_offline_it_says_so(tmp_path: Path) -> None:
    """A token, but no network."""
    said = json.loads(fetched(tmp_path, HF_TOKEN="hf_x"))
    assert "offline" in said


def test_a_complete_copy_in_the_hubs_cache_needs_no_network(tmp_path: Path) -> None:
    """What was downloaded once is found again; a download that was cut off is not taken for it."""
    commit = "0" * 40
    root = tmp_path / "hub" / "models--facebook--sam3"
    snapshot = root / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text(commit)
    (snapshot / "config.json").write_text("{}")
    assert "HF_TOKEN are empty" in fetched(tmp_path)
    (snapshot / "model.safetensors").write_bytes(b"")
    assert fetched(tmp_path) == str(snapshot)
