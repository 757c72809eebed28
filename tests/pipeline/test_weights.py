"""Weights are found and loaded, or one sentence says what to do."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pipeline import settings
from pipeline.errors import SetupFailed, WeightsUnavailable
from pipeline.model import weights
from pipeline.server import model_host


Make = Callable[..., settings.Settings]


@pytest.fixture
def copy(checkpoint: Path, tmp_path: Path) -> Path:
    """A checkpoint of one's own to spoil."""
    return Path(shutil.copytree(checkpoint, tmp_path / "copy"))


def advice(folder: Path) -> str:
    """The sentence that *folder* is refused with."""
    with pytest.raises(WeightsUnavailable) as caught:
        weights.load(weights.locate(folder))
    return caught.value.message


def test_a_directory_loads_complete(checkpoint: Path) -> None:
    """Model in float32 and evaluation mode, tokenizer of 32 places."""
    model, tokenizer = weights.load(weights.locate(checkpoint))
    assert not model.training
    assert str(model.dtype) == "torch.float32"
    assert len(tokenizer("red")["input_ids"]) == 5


def test_each_fault_has_its_sentence(copy: Path, tmp_path: Path) -> None:
    """Missing path, empty folder, no weights, no tokenizer, another model, a damaged file."""
    assert "does not exist" in advice(tmp_path / "nowhere")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "no config.json and no sam3.pt" in advice(empty)
    (empty / "weights.bin").write_bytes(b"")
    assert "not a checkpoint of Meta's" in advice(empty / "weights.bin")
    (copy / "model.safetensors").rename(tmp_path / "aside")
    assert "no weights" in advice(copy)
    # What `git clone` leaves without git-lfs.
    (copy / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    assert "cannot be loaded" in advice(copy)
    (tmp_path / "aside").rename(copy / "model.safetensors")
    (copy / "tokenizer.json").rename(tmp_path / "tokenizer")
    assert "no tokenizer" in advice(copy)
    (copy / "config.json").write_text(json.dumps({"model_type": "sam2"}))
    said = advice(copy)
    assert "of type 'sam2'; known types are sam3, sam3_video, sam3_lite_text" in said
    (copy / "config.json").write_text("{")
    assert "cannot be read" in advice(copy)


def test_weights_of_another_size_are_refused(copy: Path) -> None:
    """A config that does not fit the weights is not filled up with random numbers."""
    config = json.loads((copy / "config.json").read_text())
    config["detr_decoder_config"]["num_layers"] = 3
    (copy / "config.json").write_text(json.dumps(config))
    assert "lacks" in advice(copy)


def test_the_detector_of_a_video_checkpoint_loads(checkpoint: Path, tmp_path: Path) -> None:
    """A directory of `Sam3VideoModel`, whose detector's weights carry a prefix, serves pictures."""
    from safetensors.torch import load_file, save_file

    detector = load_file(checkpoint / "model.safetensors")
    video = {f"detector_model.{name}": weight for name, weight in detector.items()}
    save_file(video, tmp_path / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((checkpoint / "config.json").read_text())
    whole = {"model_type": "sam3_video", "detector_config": config}
    (tmp_path / "config.json").write_text(json.dumps(whole))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(checkpoint / name, tmp_path)
    model, _ = weights.load(weights.locate(tmp_path))
    state = model.state_dict()
    assert all((state[name] == weight).all() for name, weight in detector.items())


def test_tiny_json_marks_the_demo_model(copy: Path, make_settings: Make) -> None:
    """With `tiny.json` the model is called tiny and a demo; without it sam3 and none."""
    given = make_settings(sam3_weights_path=str(copy), sam3_device="cpu")
    info = model_host.open_segmenter(given).info
    assert (info.name, info.demo, info.dtype, info.device) == ("sam3", False, "float32", "cpu")
    (copy / "tiny.json").write_text("{}")
    info = model_host.open_segmenter(given).info
    assert (info.name, info.demo) == ("tiny", True)


def test_a_small_model_runs_on_one_thread(checkpoint: Path, make_settings: Make) -> None:
    """Two threads on a busy machine made a pass of 8 ms take 1200."""
    torch.set_num_threads(2)
    given = make_settings(sam3_weights_path=str(checkpoint), sam3_device="cpu")
    model_host.open_segmenter(given)
    assert torch.get_num_threads() == 1


def test_a_gpu_that_is_not_there_is_said(checkpoint: Path, make_settings: Make) -> None:
    """Asking for the hundredth GPU gives advice, not a crash at the first picture."""
    given = make_settings(sam3_weights_path=str(checkpoint), sam3_device="cuda:99")
    with pytest.raises(SetupFailed, match="SAM3_DEVICE=cuda:99, but torch"):
        model_host.open_segmenter(given)


def test_the_revision_is_the_sha256_of_the_weights(tmp_path: Path) -> None:
    """The first 12 digits of the file's own sha256 (known value of an empty file)."""
    (tmp_path / "w").write_bytes(b"")
    assert revision(tmp_path, "w") == "e3b0c44298fc"


def test_the_revision_of_several_files_depends_on_each(tmp_path: Path) -> None:
    """
    A change in either of two files changes the revision.

    Negative control: the same files give the same one.
    """
    seen = []
    for first, second in ((b"a", b"b"), (b"a", b"c"), (b"d", b"b"), (b"a", b"b")):
        (tmp_path / "v").write_bytes(first)
        (tmp_path / "w").write_bytes(second)
        seen.append(revision(tmp_path, "v", "w"))
    assert seen[0] == seen[3]
    assert len(set(seen)) == 3


def revision(folder: Path, *names: str) -> str:
    """The revision of a checkpoint of these files."""
    files = tuple(folder / name for name in names)
    return weights.Checkpoint(folder=folder, files=files, meta=False).revision()
