"""What an app developer installs: one name, and nothing of the services."""

import subprocess
from pathlib import Path

import pytest
from drawn_manifests import disc, manifest
from wheel_installs import new_environment, requirements, top_level_names

from s3_sam3.cli import USER_COMMANDS


SERVICES = {"boto3", "supabase", "torch", "transformers", "aiohttp", "psycopg"}


@pytest.fixture(scope="module")
def environment(sdk_wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with s3-sam3 and what it requires."""
    needs = requirements("s3-sam3") - {"s3-sam3"}
    return new_environment(tmp_path_factory.mktemp("app") / "env", sdk_wheel, needs=needs)


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a program outside the repository."""
    return subprocess.run(
        command, cwd=cwd, env={"COLUMNS": "200"}, capture_output=True, text=True, check=False
    )


def test_site_packages_gets_one_name(sdk_wheel: Path) -> None:
    """No `api`, `cli` or `client` that could collide with an app's own."""
    assert top_level_names(sdk_wheel) == {"s3_sam3"}


def test_nothing_of_the_services_is_required() -> None:
    """
    The requirements, and theirs, name neither boto3 nor supabase nor torch.

    Negative control: the server's requirements name some of them.
    """
    assert requirements("s3-sam3") & SERVICES == set()
    assert {"boto3", "aiohttp"} <= requirements("s3-sam3-server")


def test_the_sdk_imports_with_what_it_requires(environment: Path, tmp_path: Path) -> None:
    """Every public name is there; what is not declared is not installed, so it is not needed."""
    code = "import s3_sam3; print([getattr(s3_sam3, name) for name in s3_sam3.__all__])"
    imported = run(environment / "bin/python", "-c", code, cwd=tmp_path)

    assert imported.returncode == 0, imported.stderr
    assert "s3_sam3.client.S3Client" in imported.stdout


def test_help_lists_the_users_commands(environment: Path, tmp_path: Path) -> None:
    """`s3 --help` has each of them, and none of the operator's."""
    told = run(environment / "bin/s3", "--help", cwd=tmp_path)

    assert told.returncode == 0, told.stderr
    words = set(told.stdout.split())
    assert {command.name for command in USER_COMMANDS} <= words
    assert "janitor" not in words


def test_each_command_loads(environment: Path, tmp_path: Path) -> None:
    """The modules of the user commands need nothing of the services."""
    code = "from s3_sam3.cli import USER_COMMANDS; [command.load() for command in USER_COMMANDS]"
    loaded = run(environment / "bin/python", "-c", code, cwd=tmp_path)

    assert loaded.returncode == 0, loaded.stderr


def test_an_operators_command_says_what_to_install(environment: Path, tmp_path: Path) -> None:
    """One sentence, not a traceback and not "no such command"."""
    refused = run(environment / "bin/s3", "worker", cwd=tmp_path)

    assert refused.returncode == 2
    assert "pip install s3-sam3-server" in refused.stderr


def test_a_result_is_exported(environment: Path, tmp_path: Path) -> None:
    """The installed command does a job that needs no service."""
    dogs = manifest(dog=[disc((64, 48), (20, 20), 9)])
    (tmp_path / "manifest.json").write_text(dogs.model_dump_json())
    done = run(
        environment / "bin/s3", "export", "manifest.json", "-f", "coco", "-o", "out", cwd=tmp_path
    )

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/coco.json").exists()
