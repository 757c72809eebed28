"""`s3 weights` becomes `python -m ai.weights`."""

import os
import sys

import typer


def weights(context: typer.Context) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-m", "ai.weights", *context.args])  # noqa: S606 - our own module, no shell
