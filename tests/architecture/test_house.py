"""tools/house.py reports each bound that a repository misses."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


PROGRAM = Path(__file__).parents[2] / "tools/house.py"

#: A file that misses a bound, by the figure that must tell.
OVER = {
    "SQL functions defined more than once": (
        "supabase/migrations/1_a.sql",
        "create function s.f() x;\ncreate or replace function s.f() x;\n",
    ),
    "product Python, lines": ("api/long.py", "\n" * 25_601),
    "product Python, modules": ("listener/{}.py", ""),
    "migrations, lines": ("supabase/migrations/2_b.sql", "\n" * 5_201),
    "devstack, lines": ("devstack/long.py", "\n" * 9_837),
    "longest file, lines": ("tests/long.ts", "\n" * 301),
    "longest function, lines": ("bench/f.py", "def f():\n" + "    f()\n" * 50),
    "settings": (".env.example", "".join(f"API_{n}=\n" for n in range(46))),
}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository at its bounds."""
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    write(tmp_path, "supabase/migrations/0.sql", "create function s.f() x;\n")
    write(tmp_path, "api/at_most.py", "\n" * 300)
    write(tmp_path, "api/f.py", 'def f():\n    """D.\n\n    D.\n    """\n' + "    f()\n" * 49)
    write(tmp_path, ".env.example", "".join(f"API_{n}=\n" for n in range(45)))
    return tmp_path


def test_a_repository_at_its_bounds_passes(repository: Path) -> None:
    """Status 0; docstrings are no part of a function's length."""
    status, found = run(repository)

    assert status == 0
    assert found["longest function, lines"]["value"] == 50
    assert found["longest file, lines"]["value"] == 300


@pytest.mark.parametrize("figure", OVER)
def test_a_missed_bound_is_reported(repository: Path, figure: str) -> None:
    """Negative control: one file over a bound makes the status 1, and its figure tells."""
    name, text = OVER[figure]
    for number in range(200 if "{}" in name else 1):
        write(repository, name.format(number), text)
    status, found = run(repository)

    assert status == 1
    assert found[figure]["value"] > found[figure]["most"]


def test_ignored_files_do_not_count(repository: Path) -> None:
    """What git ignores is no part of the repository."""
    write(repository, ".gitignore", "api/made.py\n")
    write(repository, "api/made.py", "\n" * 301)

    assert run(repository)[0] == 0


def run(root: Path) -> tuple[int, dict[str, Any]]:
    """Exit status and figures by their name."""
    report = root / ".git/report.json"
    done = subprocess.run(
        [sys.executable, PROGRAM, "--root", root, "--json", report],
        stdout=subprocess.DEVNULL,
        check=False,
    )
    return done.returncode, {one["name"]: one for one in json.loads(report.read_text())}


def write(root: Path, name: str, text: str) -> None:
    """Write a file, and the folders it needs."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
