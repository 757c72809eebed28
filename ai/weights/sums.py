"""Digests of weight files, kept beside them in the format of `sha256sum`."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final


#: In the folder of the weights; `sha256sum --check SHA256SUMS` reads it too.
FILE: Final = "SHA256SUMS"


def digest(path: Path) -> str:
    """Give a file's sha256 in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write(folder: Path, digests: dict[str, str]) -> None:
    """Note the digests of files in *folder*, beside those noted before."""
    known = read(folder) | digests
    lines = [f"{known[name]}  {name}\n" for name in sorted(known)]
    (folder / FILE).write_text("".join(lines))


def read(folder: Path) -> dict[str, str]:
    """Give the noted digests by file name."""
    try:
        lines = (folder / FILE).read_text().splitlines()
    except FileNotFoundError:
        return {}
    pairs = (line.split(maxsplit=1) for line in lines if line.strip())
    return {name.lstrip("*"): wanted for wanted, name in pairs}


def changed(folder: Path, files: Iterable[Path]) -> list[str]:
    """Give a sentence for each file whose digest differs from the noted one."""
    noted = read(folder)
    said = []
    for path in files:
        wanted = noted.get(path.name)
        if wanted is not None and (found := digest(path)) != wanted:
            said.append(
                f"{path.name} has the sha256 {found[:12]}…, but {FILE} says {wanted[:12]}…:"
                " it was changed or damaged"
            )
    return said
