"""The three places that name a variable (code, .env.example, docs/settings.md) agree."""

import itertools
import re
from pathlib import Path

import pytest

from api.settings import ApiSettings
from janitor.service import JanitorSettings
from listener.settings import ListenerSettings
from pipeline.settings import Settings as PipelineSettings
from runtime.settings import ServiceKeySettings
from s3_sam3 import ClientSettings
from webhooks.delivery.serve import DispatcherSettings
from webhooks.replay.job import ReplaySettings


ROOT = Path(__file__).parents[2]
PACKAGES = (
    "adapters",
    "runtime",
    "api",
    "janitor",
    "webhooks",
    "listener",
    "pipeline",
    "sdk",
    "cli",
    "devstack",
    "ai",
)

# A settings field, an alias, or a look into the environment: our own spellings in the sources.
NAME = re.compile(
    r"\b(?:SAM3|R2|SUPABASE|API|PIPELINE|LISTENER|JANITOR|DISPATCHER|REPLAY|S3|DEVSTACK|HF)_[A-Z0-9_]+\b"
)

SETTINGS = (
    ApiSettings,
    JanitorSettings,
    DispatcherSettings,
    ServiceKeySettings,
    ReplaySettings,
    ListenerSettings,
    PipelineSettings,
    ClientSettings,
)

NOT_SETTINGS = {
    "API_KEY_HEADER",
    "SUPABASE_DB_URL",  # written by the devstack for people and tools; nothing of ours reads it
    "SUPABASE_SERVICE_ROLE_KEY",  # what the platform calls the service key inside a function
    "SUPABASE_TELEMETRY_DISABLED",  # the official CLI's
    "PIPELINE_FAILED",  # an error code
}


def in_code() -> set[str]:
    """Fields of the settings classes, and variables that other modules spell out."""
    found = {field.upper() for settings in SETTINGS for field in settings.model_fields}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            spelled = re.findall(r"""["']([A-Z0-9_]+)["']""", path.read_text())
            found |= {name for name in spelled if NAME.fullmatch(name)}
    return found - NOT_SETTINGS


def in_example(text: str | None = None) -> set[str]:
    """Variables of .env.example."""
    text = (ROOT / ".env.example").read_text() if text is None else text
    return set(re.findall(r"^([A-Z0-9_]+)=", text, re.MULTILINE))


def in_docs() -> set[str]:
    """Variables of docs/settings.md's table."""
    rows = [
        line for line in (ROOT / "docs/settings.md").read_text().splitlines() if line[:1] == "|"
    ]
    return {name for row in rows for name in re.findall(r"`([A-Z0-9_]{4,})`", row.split("|")[1])}


def test_env_example_has_every_variable_the_code_reads() -> None:
    """A variable that the code reads stands in .env.example, and nothing else does."""
    assert in_code() == in_example()


def test_docs_have_every_variable() -> None:
    """docs/settings.md lists the variables of .env.example."""
    assert in_docs() == in_example()


def test_each_variable_of_the_example_has_a_comment() -> None:
    """Above each variable, or above its group, stands what it is for."""
    lines = (ROOT / ".env.example").read_text().splitlines()
    bare = [
        line
        for before, line in itertools.pairwise(lines)
        if "=" in line and line[0] != "#" and not before
    ]

    assert bare == []


@pytest.mark.parametrize("gone", ["SUPABASE_URL", "S3_MACHINE_EMAIL", "DEVSTACK_PORT"])
def test_a_forgotten_variable_is_noticed(gone: str) -> None:
    """Negative control: a variable taken out of the example no longer equals the code."""
    text = (ROOT / ".env.example").read_text().replace(f"\n{gone}=", "\n#")

    assert in_code() - in_example(text) == {gone}
