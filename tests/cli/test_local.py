"""The environments of the programs that `s3 up` starts."""

from pathlib import Path
from types import SimpleNamespace

from cli.local import Local, Place


PLATFORM = {
    "SUPABASE_URL": "http://127.0.0.1:1",
    "SUPABASE_ANON_KEY": "public",
    "SUPABASE_SERVICE_KEY": "of the platform",
    "R2_SECRET_ACCESS_KEY": "of the bucket",
    "S3_MACHINE_EMAIL": "m@machines.invalid",
    "S3_MACHINE_PASSWORD": "of the machine",
}


def told(tmp_path: Path, settings: dict[str, str]) -> dict[str, dict[str, str]]:
    """The environment of each program of a worker."""
    started: dict[str, dict[str, str]] = {}
    place = Place(state=tmp_path, platform_port=1, api_port=2, pipeline_port=3, quiet=True)
    local = Local(place, note=lambda _: None)
    local.env = dict(PLATFORM)
    local.programs = SimpleNamespace(
        start=lambda program: started.update({program.name: program.env})
    )
    local.start_worker(Path("fake:"), settings)
    return started


def test_a_worker_is_told_its_own_settings_and_no_key_of_the_platform(tmp_path: Path) -> None:
    """A worker started with settings of its own has them, and none of the platform's keys."""
    listener = told(tmp_path, {"LISTENER_REALTIME": "off"})["listener"]
    assert listener["LISTENER_REALTIME"] == "off"
    assert (listener["SUPABASE_SERVICE_KEY"], listener["R2_SECRET_ACCESS_KEY"]) == ("", "")


def test_without_settings_it_is_told_none(tmp_path: Path) -> None:
    """Negative control: without settings of its own the worker has none of them."""
    assert "LISTENER_REALTIME" not in told(tmp_path, {})["listener"]
