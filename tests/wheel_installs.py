"""Wheels of this repository, installed into virtual environments that hold what they require."""

import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


ROOT = Path(__file__).parents[1]
INSTALLED = Path(sysconfig.get_path("purelib"))


def build_wheel(source: Path, folder: Path) -> Path:
    """Build a wheel of the files that git knows or would add under *source*; give its path."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=source,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    # A copy: a build leaves files in its source, and reads those of an earlier build.
    copy = folder / "source"
    for name in listed:
        if (source / name).is_file() and not name.startswith(("tests/", "bench/")):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, copy / name)
    _pip("wheel", "--no-build-isolation", "--wheel-dir", str(folder / "wheels"), str(copy))
    (wheel,) = (folder / "wheels").glob("*.whl")
    return wheel


def top_level_names(wheel: Path) -> set[str]:
    """What a wheel puts into site-packages, its own metadata aside."""
    names = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    return {name for name in names if not name.endswith(".dist-info")}


def requirements(name: str, extras: frozenset[str] = frozenset()) -> set[str]:
    """Every distribution that *name* with *extras* requires, itself included."""
    seen: set[tuple[str, frozenset[str]]] = set()
    pending = [(canonicalize_name(name), extras)]
    while pending:
        one = pending.pop()
        if one not in seen:
            seen.add(one)
            pending += _required(*one)
    return {found for found, _ in seen}


def new_environment(folder: Path, *wheels: Path, needs: set[str]) -> Path:
    """Make an environment with *wheels* and nothing else but the distributions *needs*."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    for name in needs:
        for part in _top_level(name):
            if not (packages / part).exists():
                (packages / part).symlink_to(INSTALLED / part)
    _pip("install", "--no-index", *map(str, wheels), python=folder / "bin/python")
    return folder


def _required(name: str, extras: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    try:
        lines = distribution(name).requires or []
    except PackageNotFoundError:  # of another platform, or of an extra that is not installed here
        return
    for line in lines:
        wanted = Requirement(line)
        environments = [{"extra": extra} for extra in extras] or [{"extra": ""}]
        if wanted.marker is None or any(map(wanted.marker.evaluate, environments)):
            yield canonicalize_name(wanted.name), frozenset(wanted.extras)


def _top_level(name: str) -> set[str]:
    try:
        files = distribution(name).files or []
    except PackageNotFoundError:
        return set()
    return {file.parts[0] for file in files} - {"..", "__pycache__"}


def _pip(command: str, *arguments: str, python: Path | None = None) -> None:
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"),
            *(["--python", str(python)] if python else []),
            *(command, "--no-deps", *arguments),
        ],
        check=True,
    )
