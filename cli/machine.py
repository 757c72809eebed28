"""`s3 add-machine`: an operator gives a GPU host its own account."""

import asyncio
import os
import secrets
from typing import Annotated

import typer

from cli import local, show
from cli.worker import SettingMissing


def add_machine(
    name: Annotated[str, typer.Argument(help="What you call the host.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make a machine user; needs SUPABASE_SERVICE_KEY. Give its two lines to the host."""
    missing = [
        each for each in ("SUPABASE_URL", "SUPABASE_SERVICE_KEY") if not os.environ.get(each)
    ]
    if missing:
        raise SettingMissing(missing)
    machine = {
        "S3_MACHINE_EMAIL": f"{name}@machines.invalid",
        "S3_MACHINE_PASSWORD": secrets.token_urlsafe(24),
    }
    asyncio.run(
        local.register_machine(
            os.environ["SUPABASE_URL"].rstrip("/"),
            os.environ["SUPABASE_SERVICE_KEY"],
            email=machine["S3_MACHINE_EMAIL"],
            password=machine["S3_MACHINE_PASSWORD"],
        )
    )
    if as_json:
        show.as_json(dict(machine))
        return
    for variable, value in machine.items():
        show.out.print(f"{variable}={value}", soft_wrap=True, highlight=False)
