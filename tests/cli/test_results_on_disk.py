"""`s3 export` and `s3 rethreshold` of results on this machine, without any service."""

import hashlib
import json
from pathlib import Path

import pytest
from drawn_manifests import disc, manifest, picture
from typer.testing import CliRunner, Result

from s3_sam3.cli import app, batch_folder, manifests
from s3_sam3.cli.batch_folder import BatchFolder, Record
from s3_sam3.contracts.manifest import Manifest


SIZE = (64, 48)
DOGS = manifest(dog=[disc(SIZE, (20, 20), 9), disc(SIZE, (45, 25), 12)])


def s3(*arguments: str | Path) -> Result:
    """Run `s3 …`."""
    return CliRunner().invoke(app, [str(each) for each in arguments])


@pytest.fixture
def result(tmp_path: Path) -> Path:
    """A folder of one result, with scores 0.9 and 0.8."""
    return _result(tmp_path / "result")


@pytest.fixture
def batch(tmp_path: Path) -> Path:
    """A folder of two results, which knows their pictures."""
    for name in ("a", "b"):
        path = picture(tmp_path / f"{name}.png", SIZE)
        place = _result(tmp_path / "batch" / name)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        batch_folder.write(place, Record(picture=path.resolve(), sha256=digest, request=""))
    return tmp_path / "batch"


def test_help_lists_the_formats() -> None:
    """Each format has its sentence in `s3 export --help`."""
    told = s3("export", "--help").output

    assert "geojson" in told
    assert "Each instance cut out of the picture" in told


def test_a_file_and_its_folder_are_the_same_source(result: Path, tmp_path: Path) -> None:
    """Both name the one manifest; named twice it is exported once."""
    done = s3("export", result, result / "manifest.json", "-f", "labels", "-o", tmp_path / "x")

    assert done.exit_code == 0
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["result.labels.png"]


def test_a_batch_knows_its_pictures(batch: Path, tmp_path: Path) -> None:
    """Overlays of a batch need no --picture."""
    done = s3("export", batch, "-f", "overlay", "-o", tmp_path / "x", "--no-tags", "--tint", "1")

    assert done.exit_code == 0, done.output
    assert len(list((tmp_path / "x").iterdir())) == 2


def test_a_batch_has_all_its_results(batch: Path, tmp_path: Path) -> None:
    """
    Also a result written flat by a call in which the pattern matched one picture.

    Negative control: without the batch's name file the folder is one result, and a note says so.
    """
    (batch / "manifest.json").write_text(DOGS.model_dump_json())
    flat = s3("export", batch, "-f", "labels", "-o", tmp_path / "flat")
    assert [path.name for path in (tmp_path / "flat").iterdir()] == ["batch.labels.png"]
    assert "2 results in the folders in it not taken" in flat.stderr

    BatchFolder(batch)
    s3("export", batch, "-f", "labels", "-o", tmp_path / "all")
    assert {path.name for path in (tmp_path / "all").iterdir()} == {
        *("batch.labels.png", "a.labels.png", "b.labels.png")
    }
    s3("rethreshold", batch, "--threshold", "0.85", "-o", tmp_path / "strict")
    assert len(list(tmp_path.glob("strict/*/manifest.json"))) == 3


def test_a_picture_that_changed_is_not_taken_for_it(batch: Path, tmp_path: Path) -> None:
    """Other bytes under the old name are another picture."""
    picture(tmp_path / "a.png", (48, 64))
    source = manifests.from_file(batch / "a" / "manifest.json", None)

    assert source.picture is None


def test_a_picture_of_another_size_is_told(result: Path, tmp_path: Path) -> None:
    """`--picture` of another size is refused with both sizes."""
    other = picture(tmp_path / "other.png", (10, 10))
    done = s3("export", result, "-f", "cutout", "-o", tmp_path / "x", "--picture", other)

    assert "10x10 px" in str(done.exception)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("source", ["nothing", ".", "picture.png"])
def test_what_is_no_source_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    """No file, a folder without results, a file that is no manifest."""
    picture(tmp_path / "picture.png")
    monkeypatch.chdir(tmp_path)
    done = s3("export", source, "-f", "coco", "-o", "x")

    assert done.exit_code != 0
    assert not (tmp_path / "x").exists()


def test_one_picture_is_not_the_picture_of_two(batch: Path, tmp_path: Path) -> None:
    """`--picture` with several results is a usage error."""
    done = s3(
        "export", batch, "-f", "overlay", "-o", tmp_path / "x", "--picture", tmp_path / "a.png"
    )

    assert done.exit_code == 2


def test_a_result_is_rethresholded_and_back(result: Path, tmp_path: Path) -> None:
    """A higher threshold drops the worse dog; a lower one brings it back from the new folder."""
    s3("rethreshold", result, "--threshold", "0.85", "-o", tmp_path / "strict")
    s3("rethreshold", tmp_path / "strict", "--threshold", "0.5", "-o", tmp_path / "back")

    assert _counts(tmp_path / "strict") == [1]
    assert _counts(tmp_path / "back") == [2]


def test_a_prompt_may_have_its_own_threshold(result: Path) -> None:
    """`--prompt p0=0.85` is the threshold of that prompt; an unknown prompt is an error."""
    done = s3("rethreshold", result, "--prompt", "p0=0.85", "--json")
    [document] = json.loads(done.output)["manifests"].values()

    assert len(document["prompts"][0]["instances"]) == 1
    assert "p0" in str(s3("rethreshold", result, "--prompt", "cat=0.85").exception)


def test_a_batch_is_rethresholded_into_folders(batch: Path, tmp_path: Path) -> None:
    """Each result of a batch has a folder again, its overlay included."""
    done = s3("rethreshold", batch, "--threshold", "0.85", "-o", tmp_path / "strict")

    assert done.exit_code == 0, done.output
    assert _counts(tmp_path / "strict" / "b") == [1]
    assert (tmp_path / "strict" / "a" / "overlay.webp").exists()


@pytest.mark.parametrize(
    "changes", [(), ("--prompt", "p0"), ("--prompt", "p0=2"), ("--nms", "3")], ids=str
)
def test_changes_that_fit_nothing_are_usage_errors(result: Path, changes: tuple[str, ...]) -> None:
    """Nothing to change, no number, a number out of bounds."""
    assert s3("rethreshold", result, *changes).exit_code == 2


def _result(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(DOGS.model_dump_json())
    return folder


def _counts(folder: Path) -> list[int]:
    found = Manifest.model_validate_json((folder / "manifest.json").read_bytes())
    return [len(prompt.instances) for prompt in found.prompts]
