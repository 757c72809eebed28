"""Which functions there are: the folders of `supabase/functions`, with what config.toml says."""

import dataclasses
import re
import tomllib
from pathlib import Path
from typing import Any


#: As the official CLI names functions; so `_shared` and paths are none.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")

ENTRY = "index.ts"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """One function, as it is served."""

    name: str
    entry: Path
    #: Whether a caller must show a token of this stack before the function is asked.
    verify_jwt: bool


def find(folder: Path, name: str) -> Function | None:
    """The function *name* of *folder*; None when there is none, or it is not enabled."""
    if not NAME.fullmatch(name):
        return None
    settings = _settings(folder.parent / "config.toml", name)
    # Relative to config.toml, as the official CLI reads it.
    named = settings.get("entrypoint")
    entry = folder.parent / named if named else folder / name / ENTRY
    if not (settings.get("enabled", True) and entry.is_file()):
        return None
    return Function(name=name, entry=entry, verify_jwt=bool(settings.get("verify_jwt", True)))


def _settings(path: Path, name: str) -> dict[str, Any]:
    # Read anew for each request: a person edits it while the stack runs, and it is small.
    if not path.is_file():
        return {}
    functions = tomllib.loads(path.read_text()).get("functions", {})
    found: dict[str, Any] = functions.get(name, {})
    return found
