"""House rules that a machine can see."""

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
DRAWERS = {"utils", "util", "common", "helpers", "misc"}
MOST_LINES = 300


def sources() -> list[Path]:
    """Python, TypeScript and SQL files."""
    return [path for path in FILES if path.suffix in {".py", ".ts", ".sql"}]


def test_no_file_is_longer_than_the_limit() -> None:
    """A file is one step or state; over 300 lines it is several."""
    assert {path.suffix for path in sources()} == {".py", ".ts", ".sql"}
    assert [path for path in sources() if lines(path) > MOST_LINES] == []


def test_there_are_no_drawers() -> None:
    """No file or folder is named after nothing."""
    drawers = [path for path in FILES if DRAWERS & {path.stem, *path.relative_to(ROOT).parts[:-1]}]

    assert drawers == []


def test_nothing_shadows_the_supabase_package() -> None:
    """An __init__.py in supabase/ would hide the installed client."""
    assert [path for path in FILES if path.match("supabase/**/__init__.py")] == []


@pytest.mark.parametrize("name", ["weights", ".env", "node_modules", ".devstack"])
def test_what_must_never_be_committed_is_ignored(name: str) -> None:
    """Git ignores weights, secrets and what tools make."""
    asked = subprocess.run(["git", "check-ignore", "-q", f"{name}/x"], cwd=ROOT, check=False)

    assert asked.returncode == 0


def lines(path: Path) -> int:
    """Lines of a text file."""
    return path.read_text().count("\n")
