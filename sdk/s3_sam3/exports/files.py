"""How exported files are named and written."""

import json
import re
from pathlib import Path
from typing import Any

from s3_sam3.contracts.manifest import Instance, PromptResult
from s3_sam3.exports.pictured import Pictured, class_name


def written(path: Path, content: bytes) -> Path:
    """Write a file, its folder included, and give its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def written_json(path: Path, document: dict[str, Any], *, indent: int | None = None) -> Path:
    """Write a JSON document in UTF-8."""
    return written(path, json.dumps(document, indent=indent, ensure_ascii=False).encode())


def instance_file(item: Pictured, prompt: PromptResult, instance: Instance) -> Path:
    """Name the PNG of one instance: `bus/007-yellow-school-bus.png`, by its label in the mask."""
    words = re.sub(r"[^\w]+", "-", class_name(prompt)).strip("-")[:60]
    return Path(item.name, f"{instance.label:03d}-{words or 'instance'}.png")
