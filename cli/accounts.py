"""`s3 add-machine`, `s3 add-listener`, `s3 remove-listener`; they need the service key."""

import asyncio
import os
import secrets
from collections.abc import Mapping
from typing import Annotated, Any, Final

import httpx
import supabase_auth
import typer
from supabase_auth import errors as auth_errors

from cli.worker import SettingMissing
from s3_sam3 import S3Error
from s3_sam3.cli import show


WEBHOOK_PATH: Final = "/webhooks/supabase"


def add_machine(
    name: Annotated[str, typer.Argument(help="Your name for the host.")],
    as_json: show.AsJson = False,
) -> None:
    """Make a machine user; needs SUPABASE_SERVICE_KEY. Give its two lines to the host."""
    url, key = _project()
    machine = new_machine(name)
    asyncio.run(register_machine(url, key, machine))
    _print(machine, as_json=as_json)


def add_listener(
    name: Annotated[str, typer.Argument(help="Your name for the listener.")],
    url: Annotated[str, typer.Argument(help="How the database reaches it, as https://gpu.example")],
    rotate: Annotated[
        bool, typer.Option("--rotate", help="A new secret; the old one is good for a day.")
    ] = False,
    as_json: show.AsJson = False,
) -> None:
    """Have a listener woken by webhook; needs SUPABASE_SERVICE_KEY. Give its line to the host."""
    project, key = _project()
    address = url.rstrip("/")
    if not address.endswith(WEBHOOK_PATH):
        address += WEBHOOK_PATH
    call = _call(project, key, "register_wake_target", p_name=name, p_url=address)
    secret = asyncio.run(call)
    if rotate:
        secret = asyncio.run(_call(project, key, "rotate_wake_secret", p_name=name))
    given = {"LISTENER_WEBHOOK_SECRETS": str(secret)}
    _print({"url": address, **given} if as_json else given, as_json=as_json)


def remove_listener(
    name: Annotated[str, typer.Argument(help="Your name for the listener.")],
) -> None:
    """Stop waking that listener by webhook; it goes on with Realtime and its poll."""
    project, key = _project()
    asyncio.run(_call(project, key, "remove_wake_target", p_name=name))


def new_machine(name: str) -> dict[str, str]:
    return {
        "S3_MACHINE_EMAIL": f"{name}@machines.invalid".lower(),
        "S3_MACHINE_PASSWORD": secrets.token_urlsafe(24),
    }


async def register_machine(url: str, service_key: str, machine: Mapping[str, str]) -> None:
    """Make an Auth user of kind `gpu` and enable it. Raises: S3Error."""
    email = machine["S3_MACHINE_EMAIL"]
    headers = {"apikey": service_key, "Authorization": f"Bearer {service_key}"}
    admin = supabase_auth.AsyncGoTrueClient(url=f"{url}/auth/v1", headers=headers).admin
    try:
        made = await admin.create_user(
            {
                "email": email,
                "password": machine["S3_MACHINE_PASSWORD"],
                "email_confirm": True,
                "app_metadata": {"kind": "gpu"},
            }
        )
    except auth_errors.AuthError as error:
        raise S3Error(f"No machine user could be made: {error.message}") from error
    name = email.split("@", maxsplit=1)[0]
    await _call(url, service_key, "register_machine", p_id=made.user.id, p_name=name)


def _project() -> tuple[str, str]:
    """The project's URL and service key. Raises: SettingMissing."""
    names = ("SUPABASE_URL", "SUPABASE_SERVICE_KEY")
    if missing := [name for name in names if not os.environ.get(name)]:
        raise SettingMissing(missing)
    url, key = (os.environ[name] for name in names)
    return url.rstrip("/"), key


async def _call(url: str, service_key: str, function: str, **params: str) -> Any:
    """Call an operator's function of the database. Raises: S3Error."""
    headers = {"apikey": service_key, "Authorization": f"Bearer {service_key}"}
    async with httpx.AsyncClient(headers=headers) as http:
        try:
            answer = await http.post(f"{url}/rest/v1/rpc/{function}", json=params)
        except httpx.TransportError as error:
            raise S3Error(f"The project does not answer: {error}") from error
    if answer.is_error:
        raise S3Error(f"The database refused: {answer.text}")
    return answer.json() if answer.content else None


def _print(variables: dict[str, str], *, as_json: bool) -> None:
    if as_json:
        show.as_json(dict(variables))
        return
    for variable, value in variables.items():
        show.out.print(f"{variable}={value}", soft_wrap=True, highlight=False)
