"""A fault of one picture of a batch is its row; the others have their files."""

import contextlib
import errno
import uuid
from pathlib import Path

import pytest
import typer
from fake_service import FakeService
from segment_batches import DOG, batch

from s3_sam3 import UnreadableManifest, read_manifest
from s3_sam3.cli import config
from s3_sam3.cli.batch_folder import BatchFolder
from s3_sam3.cli.segment_many import segment_many


async def test_a_file_that_cannot_be_read_is_a_row(
    service: FakeService, pictures: list[Path], out: Path
) -> None:
    """A picture that vanished is a row with its reason; the others are done."""
    pictures[0].unlink()
    done = await batch(service, pictures, out)

    assert [row.error for row in done.rows if not row.done] == [
        "cannot be read: No such file or directory"
    ]


async def test_a_picture_whose_folder_cannot_be_made_is_a_row(
    service: FakeService, pictures: list[Path], out: Path
) -> None:
    """A file where the picture's folder should be; the others are done."""
    BatchFolder(out)
    (out / "a").write_text("a file")
    done = await batch(service, pictures, out)

    assert [row.error for row in done.rows if not row.done] == ["cannot be kept: File exists"]


async def test_an_answer_that_nobody_expected_is_a_row(
    service: FakeService, pictures: list[Path], out: Path
) -> None:
    """
    A manifest of a newer service, or any other fault in one picture: the others have their files.

    The next call asks for that one alone, and for the task that it has.
    """
    first = iter([ValueError("no such thing")])

    def fail_once(task_id: uuid.UUID) -> None:
        for error in first:
            raise error

    service.before_wait = fail_once
    done = await batch(service, pictures, out, jobs=4)
    assert [row.error for row in done.rows if not row.done] == ["ValueError: no such thing"]
    assert done.stopped is None
    again = await batch(service, pictures, out)
    assert all(row.done for row in again.rows)
    assert len(service.tasks) == 5


def test_a_manifest_of_another_version_is_an_error_of_the_sdk() -> None:
    """A manifest of a newer service is an error of the SDK with the task's id."""
    task = uuid.UUID(int=1)
    with pytest.raises(UnreadableManifest, match=r"version: .*newer than this client") as caught:
        read_manifest(task, b'{"version": 2}')
    assert caught.value.task_id == task


def test_a_full_disk_ends_the_command_with_one_sentence(
    service: FakeService,
    pictures: list[Path],
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A full disk stops the remaining pictures; the table says which are done."""

    def full(place: Path, record: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(config, "client", lambda: contextlib.nullcontext(service))
    monkeypatch.setattr("s3_sam3.cli.batch_folder.write", full)
    with pytest.raises(typer.Exit):
        segment_many(pictures, DOG, out, jobs=1, as_json=False)
    told = capsys.readouterr()
    assert "cannot be kept: No space left on device" in told.err
    assert "not begun" in told.out
