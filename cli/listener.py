"""`s3 add-listener` and `s3 remove-listener`: where the database's webhooks find a listener."""

import asyncio
import os
from typing import Annotated, Any

import httpx
import typer

from cli import show
from cli.worker import SettingMissing
from s3_sam3 import S3Error


PATH = "/webhooks/supabase"


def add_listener(
    name: Annotated[str, typer.Argument(help="What you call the listener.")],
    url: Annotated[str, typer.Argument(help="How the database reaches it, as https://gpu.example")],
    rotate: Annotated[
        bool, typer.Option("--rotate", help="A new secret; the old one is good for a day.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Have a listener woken by webhook; needs SUPABASE_SERVICE_KEY. Give its line to the host."""
    address = url.rstrip("/")
    if not address.endswith(PATH):
        address += PATH
    secret = asyncio.run(_call("register_wake_target", p_name=name, p_url=address))
    if rotate:
        secret = asyncio.run(_call("rotate_wake_secret", p_name=name))
    given = {"LISTENER_WEBHOOK_SECRETS": str(secret)}
    if as_json:
        show.as_json({"url": address, **given})
        return
    for variable, value in given.items():
        show.out.print(f"{variable}={value}", soft_wrap=True, highlight=False)


def remove_listener(
    name: Annotated[str, typer.Argument(help="What you called the listener.")],
) -> None:
    """Wake that listener by webhook no more; it goes on with hints and the poll."""
    asyncio.run(_call("remove_wake_target", p_name=name))


async def _call(function: str, **params: str) -> Any:
    """Call an operator's function. Raises: SettingMissing, S3Error."""
    names = ("SUPABASE_URL", "SUPABASE_SERVICE_KEY")
    if missing := [name for name in names if not os.environ.get(name)]:
        raise SettingMissing(missing)
    url, key = (os.environ[name] for name in names)
    headers = {"apikey": key, "Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(headers=headers) as http:
        try:
            answer = await http.post(f"{url.rstrip('/')}/rest/v1/rpc/{function}", json=params)
        except httpx.TransportError as error:
            raise S3Error(f"The project does not answer: {error}") from error
    if answer.is_error:
        raise S3Error(f"The database refused: {answer.text}")
    return answer.json()
