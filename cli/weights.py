"""`s3 weights` becomes `python -m ai.weights`."""

import typer

from cli.replay import become


def weights(context: typer.Context) -> None:
    become("ai.weights", context.args)
