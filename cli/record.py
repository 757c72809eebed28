"""`s3 record`: hands everything over to `python -m webhooks.replay record`."""

import typer

from cli.replay import become


def record(context: typer.Context) -> None:
    """Proxy that writes webhooks down, then forwards them: --forward URL [--listen] [--out]."""
    become("webhooks.replay", ["record", *context.args])
