"""Weights come from the hub whole, or one sentence says what to do."""

import random
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from fake_hub import GOOD, UNAPPROVED, FakeHub, fake_hub
from meta_layout import to_meta
from safetensors.torch import load_file
from weights_command import s3_weights

from ai.weights.__main__ import main
from pipeline.model import weights


@pytest.fixture
def hub(saved: Path) -> Iterator[FakeHub]:
    """A hub that holds the random model as facebook/sam3."""
    with fake_hub(FakeHub(repository="facebook/sam3", folder=saved)) as serving:
        yield serving


def test_a_folder_is_fetched_whole(
    hub: FakeHub, saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What arrives serves and is verified; a second fetch asks for no file again."""
    target = tmp_path / "sam3"
    hub_at = {"HF_ENDPOINT": hub.url, "HF_TOKEN": GOOD}
    done = s3_weights(tmp_path, "fetch", target, **hub_at)
    assert done.returncode == 0, done.stderr
    assert f"SAM3_WEIGHTS_PATH={target}" in done.stdout
    assert (target / "model.safetensors").read_bytes() == (saved / "model.safetensors").read_bytes()
    weights.load(weights.locate(target))
    assert main(["verify", str(target)]) == 0
    assert "as SHA256SUMS says" in capsys.readouterr().out

    hub.down = True
    assert s3_weights(tmp_path, "fetch", target, **hub_at).returncode == 0


def test_a_fetch_goes_on_where_it_was_cut_off(hub: FakeHub, saved: Path, tmp_path: Path) -> None:
    """The hub dies half-way; the next fetch asks for the rest alone."""
    source, target = Path(shutil.copytree(saved, tmp_path / "hub")), tmp_path / "sam3"
    # The hub's client writes ten mebibytes at a time.
    (source / "model.safetensors").write_bytes(random.Random(0).randbytes(12 * 2**20))
    hub.folder, hub.cut_after = source, 11 * 2**20
    hub_at = {"HF_ENDPOINT": hub.url, "HF_TOKEN": GOOD}
    cut = s3_weights(tmp_path, "fetch", target, **hub_at)
    assert cut.returncode == 1
    assert "Start again later" in cut.stderr
    assert not (target / "model.safetensors").exists()

    hub.cut_after, hub.down = None, False
    hub.ranges.clear()
    assert s3_weights(tmp_path, "fetch", target, **hub_at).returncode == 0
    assert hub.ranges == [f"bytes={10 * 2**20}-"]
    fetched, wanted = (place / "model.safetensors" for place in (target, source))
    assert fetched.read_bytes() == wanted.read_bytes()


def test_a_file_that_arrives_damaged_is_not_kept(hub: FakeHub, tmp_path: Path) -> None:
    """Negative control: one bit of it, against the digest that the hub names."""
    hub.damage = True
    done = s3_weights(tmp_path, "fetch", tmp_path / "x", HF_ENDPOINT=hub.url, HF_TOKEN=GOOD)
    assert done.returncode == 1
    assert "arrived damaged" in done.stderr
    assert not list((tmp_path / "x").glob("model*"))


def test_without_weights_nothing_is_fetched(tmp_path: Path) -> None:
    """A repository of Meta's file alone, and one of none: what it has, and what would fetch it."""
    source = tmp_path / "hub"
    source.mkdir()
    (source / "config.json").write_text("{}")
    with fake_hub(FakeHub(repository="facebook/sam3", folder=source)) as hub:
        hub_at = {"HF_ENDPOINT": hub.url, "HF_TOKEN": GOOD}
        none = s3_weights(tmp_path, "fetch", tmp_path / "x", **hub_at)
        (source / "sam3.pt").write_bytes(bytes(20_000))
        meta = s3_weights(tmp_path, "fetch", tmp_path / "x", **hub_at)
    assert (none.returncode, meta.returncode) == (1, 1)
    assert "it has none of any kind" in none.stderr
    assert "it has sam3.pt. Nothing was fetched. Fetch Meta's sam3.pt with --meta" in meta.stderr
    assert not (tmp_path / "x").exists()


def test_metas_file_is_fetched_alone(saved: Path, tmp_path: Path) -> None:
    """
    `--meta` brings Meta's file and the tokenizer, and no other weights.

    The token is that of the hub's login, which no variable names.
    """
    source = Path(shutil.copytree(saved, tmp_path / "hub"))
    torch.save(to_meta(load_file(saved / "model.safetensors")), source / "sam3.pt")
    login = tmp_path / "login"
    login.write_text(GOOD)
    with fake_hub(FakeHub(repository="facebook/sam3", folder=source)) as hub:
        done = s3_weights(
            tmp_path,
            *("fetch", tmp_path / "meta", "--meta"),
            HF_ENDPOINT=hub.url,
            HF_TOKEN_PATH=str(login),
        )
    assert done.returncode == 0, done.stderr
    assert not list((tmp_path / "meta").glob("*.safetensors"))
    assert main(["verify", str(tmp_path / "meta")]) == 0


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("", "HF_TOKEN is empty"),
        ("hf_expired", "does not accept HF_TOKEN"),
        (UNAPPROVED, "accept the licence, wait for the approval"),
    ],
)
def test_each_refusal_says_what_to_do(hub: FakeHub, tmp_path: Path, token: str, said: str) -> None:
    """No token, a wrong one, and one whose account has not accepted the licence."""
    done = s3_weights(tmp_path, "fetch", tmp_path / "x", HF_ENDPOINT=hub.url, HF_TOKEN=token)
    assert done.returncode == 1
    assert said in done.stderr
    assert "facebook/sam3" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_network_it_says_so(tmp_path: Path) -> None:
    """Nobody listens at the hub's address."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        done = s3_weights(tmp_path, "fetch", tmp_path / "x", HF_ENDPOINT=url, HF_TOKEN=GOOD)
    assert done.returncode == 1
    assert "offline" in done.stderr


def test_a_repository_that_is_not_there_is_said(hub: FakeHub, tmp_path: Path) -> None:
    """A name mistyped is not taken for a licence."""
    done = s3_weights(
        tmp_path,
        *("fetch", tmp_path / "x", "--repository", "facebook/sam33"),
        HF_ENDPOINT=hub.url,
        HF_TOKEN=GOOD,
    )
    assert done.returncode == 1
    assert "no facebook/sam33" in done.stderr
