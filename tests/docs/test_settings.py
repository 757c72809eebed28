"""The three places that name a variable (code, .env.example, docs/settings.md) agree."""

import itertools
import re
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[2]
PACKAGES = ("adapters", "api", "listener", "pipeline", "client", "cli", "devstack", "ai")

# A settings field, an alias, or a look into the environment: our own spellings in the sources.
NAME = re.compile(r"\b(?:SAM3|R2|SUPABASE|API|PIPELINE|LISTENER|S3|DEVSTACK|HF)_[A-Z0-9_]+\b")

SETTINGS_CLASS = re.compile(
    r"class \w+\((?:\w+\.)?BaseSettings\):(.*?)(?=\nclass |\ndef |\Z)", re.DOTALL
)

NOT_SETTINGS = {
    "API_KEY_HEADER",
    "SUPABASE_DB_URL",  # written by the devstack for people and tools; nothing of ours reads it
    "SUPABASE_TELEMETRY_DISABLED",  # the official CLI's
    "PIPELINE_FAILED",  # an error code
}


def in_code() -> set[str]:
    """Variables that a Settings class or an environment look-up of the packages names."""
    found: set[str] = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            found |= _variables(path.read_text())
    return found - NOT_SETTINGS


def _variables(source: str) -> set[str]:
    spelled = set(re.findall(r"""["']([A-Z0-9_]+)["']""", source))
    return {name for name in spelled if NAME.fullmatch(name)} | _fields(source)


def _fields(source: str) -> set[str]:
    """Fields of BaseSettings classes: the variable is the prefix and the field in capitals."""
    names: set[str] = set()
    for body in re.findall(
        r"class \w+\((?:\w+\.)?BaseSettings\):(.*?)(?=\nclass |\ndef |\Z)", source, re.DOTALL
    ):
        prefix = re.search(r"""env_prefix=["'](\w+)["']""", body)
        fields = re.findall(r"^    ([a-z][a-z0-9_]*):(?!.*alias=)", body, re.MULTILINE)
        names |= {(prefix.group(1) if prefix else "").upper() + field.upper() for field in fields}
    return {name for name in names if NAME.fullmatch(name)}


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
