"""What a page points to is there."""

import re
import subprocess
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[2]
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
