"""`s3 weights`: hands everything over to `python -m ai.weights`."""

import typer

from cli.replay import become


def weights(context: typer.Context) -> None:
    """Fetch, convert, verify or describe SAM3's weights. `s3 weights --help` lists the commands."""
    become("ai.weights", context.args)
