"""`s3 record`: hands everything over to `python -m replay record`."""

import typer

from cli.replay import become


def record(context: typer.Context) -> None:
    """Proxy that writes webhooks down, then forwards them: --forward URL [--listen] [--out]."""
    become("replay", ["record", *context.args])
