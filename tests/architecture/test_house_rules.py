"""Rules about names and about what is committed. tools/house.py counts lines and functions."""

import subprocess
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[2]
FILES = [
    ROOT / name
    for name in subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    if (ROOT / name).is_file()
]
VAGUE = {"utils", "util", "common", "helpers", "misc"}


def test_no_name_says_nothing() -> None:
    """No file or folder is called `utils`, `common` or the like."""
    vague = [path for path in FILES if VAGUE & {path.stem, *path.relative_to(ROOT).parts[:-1]}]

    assert vague == []


def test_nothing_shadows_the_supabase_package() -> None:
    """An __init__.py in supabase/ would hide the installed client."""
    assert [path for path in FILES if path.match("supabase/**/__init__.py")] == []


@pytest.mark.parametrize("name", ["weights", ".env", "node_modules", ".devstack"])
def test_what_must_never_be_committed_is_ignored(name: str) -> None:
    """Git ignores weights, secrets and what tools make."""
    asked = subprocess.run(["git", "check-ignore", "-q", f"{name}/x"], cwd=ROOT, check=False)

    assert asked.returncode == 0
