"""Links and paths of the pages lead somewhere; READMEs name their modules."""

import re
import subprocess
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[2]
#: A relative path, alone in backticks.
PATH = re.compile(r"`([\w.*-]+/[\w./*-]*)`")
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#]+)")
PAGES = sorted(
    ROOT / name
    for name in subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page: Path) -> None:
    """A relative link of a page names a file of the repository."""
    broken = [to for to in LINK.findall(page.read_text()) if not (page.parent / to).exists()]

    assert broken == []


@pytest.mark.parametrize("page", ["README.md", "docs/a-jobs-way.md"])
def test_each_path_is_there(page: str) -> None:
    """A path in backticks names a file or a folder; `*` stands for a migration's time."""
    assert missing_paths((ROOT / page).read_text()) == []


def test_a_missing_path_is_noticed() -> None:
    """Negative control: a path that is not there is found among those that are."""
    text = "`api/app.py`, `api/nowhere.py`, `supabase/migrations/*_claim_tasks.sql`, `POST /api/v1`"

    assert missing_paths(text) == ["api/nowhere.py"]


def missing_paths(text: str) -> list[str]:
    """Paths from a folder of the repository that lead to nothing."""
    folders = {path.name for path in ROOT.iterdir() if path.is_dir()}
    paths = [path for path in PATH.findall(text) if path.partition("/")[0] in folders]
    return [path for path in paths if not any(ROOT.glob(path.rstrip("/")))]


@pytest.mark.parametrize(
    "folder",
    [
        "runtime",
        "sandbox",
        "sdk/s3_sam3",
        "sdk/s3_sam3/cli",
        "sdk/s3_sam3/contracts",
        "sdk/s3_sam3/imaging",
        "adapters",
        "api",
        "janitor",
        "webhooks/delivery",
        "webhooks/replay",
        "listener",
        "pipeline",
        "cli",
        "devstack",
        "ai",
    ],
)
def test_each_folder_explains_its_files(folder: str) -> None:
    """A package's README names each of its modules."""
    text = (ROOT / folder / "README.md").read_text()
    modules = {path.name for path in (ROOT / folder).glob("*.py")} - {"__init__.py", "__main__.py"}

    assert {name for name in modules if name not in text} == set()
