"""`s3 weights` as an operator starts it."""

import os
import subprocess
import sys
from pathlib import Path


def s3_weights(
    home: Path, *arguments: str | Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run it in a process of its own, which knows of no token and no cache but these."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    ours = {"HF_HOME": str(home / "hub"), "S3_CACHE_DIR": str(home / "cache")}
    return subprocess.run(
        [sys.executable, "-m", "s3_sam3.cli", "weights", *map(str, arguments)],
        env={**clean, **ours, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
