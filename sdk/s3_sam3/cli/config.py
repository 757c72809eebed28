"""
Where the service is and who is signed in, kept between commands; `s3 login` and `s3 logout`.

The two files lie in the platform's own folder for settings (`XDG_CONFIG_HOME` is honoured).
"""

import asyncio
import dataclasses
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import platformdirs
import typer
from pydantic import ValidationError

from s3_sam3 import ClientSettings, NotSignedIn, S3Client, S3Error, Session
from s3_sam3.cli import show
from s3_sam3.session import Tokens


Answer = TypeVar("Answer")

SERVICE_FILE: Final = "service.json"
SESSION_FILE: Final = "session.json"


class NoService(S3Error):
    """No service is known. Set SUPABASE_URL and SUPABASE_ANON_KEY, or start one with `s3 up`."""

    def __init__(self) -> None:
        super().__init__(type(self).__doc__)


def login(
    email: Annotated[str, typer.Option(prompt=True, help="Your address.")],
    password: Annotated[
        str,
        typer.Option(
            prompt=True, hide_input=True, envvar="S3_PASSWORD", help="Asked for when not given."
        ),
    ],
    sign_up: Annotated[bool, typer.Option("--sign-up", help="Make the account first.")] = False,
) -> None:
    where = settings()
    enter = Session.sign_up if sign_up else Session.sign_in
    session = asyncio.run(
        enter(
            supabase_url=where.supabase_url,
            anon_key=where.supabase_anon_key,
            email=email,
            password=password,
        )
    )
    remember_service(where)
    remember_session(session.tokens)
    show.err.print(f"Signed in as [bold]{session.tokens.email}[/].")


def logout() -> None:
    try:
        session = kept_session()
    except NotSignedIn:
        show.err.print("Nobody was signed in.")
        return
    (_folder() / SESSION_FILE).unlink(missing_ok=True)
    asyncio.run(session.sign_out())
    show.err.print("Signed out.")


def client() -> S3Client:
    """A client of the signed-in user; raises NotSignedIn or NoService."""
    return S3Client(kept_session(), api_url=settings().s3_api_url)


def call(work: Callable[[S3Client], Awaitable[Answer]]) -> Answer:
    """Run *work* with a client of the signed-in user; raises NotSignedIn or NoService."""

    async def called() -> Answer:
        async with client() as s3:
            return await work(s3)

    return asyncio.run(called())


def settings() -> ClientSettings:
    """The environment's values, else those that `s3 up` or `s3 login` kept; raises NoService."""
    known = _read(SERVICE_FILE)
    names = ClientSettings.model_fields
    fields = {name: os.environ.get(name.upper()) or known.get(name) for name in names}
    try:
        return ClientSettings.model_validate(
            {name: value for name, value in fields.items() if value}
        )
    except ValidationError as error:
        raise NoService from error


def remember_service(service: ClientSettings) -> Path:
    """Keep where the service is; the environment comes before it."""
    return _write(SERVICE_FILE, service.model_dump())


def remember_session(tokens: Tokens) -> None:
    """Keep the session, readable by its owner alone."""
    _write(SESSION_FILE, dataclasses.asdict(tokens))


def kept_session() -> Session:
    """Raises NotSignedIn or NoService."""
    where = settings()
    try:
        tokens = Tokens(**_read(SESSION_FILE))
    except TypeError:  # no file, or not one of this version
        raise NotSignedIn from None
    return Session(
        supabase_url=where.supabase_url,
        anon_key=where.supabase_anon_key,
        tokens=tokens,
        on_change=remember_session,
    )


def _folder() -> Path:
    return platformdirs.user_config_path("s3-sam3")


def _read(name: str) -> dict[str, Any]:
    try:
        kept: dict[str, Any] = json.loads((_folder() / name).read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return kept


def _write(name: str, content: dict[str, object]) -> Path:
    """Replace a file whole, so that a command that runs beside this one reads no half of it."""
    _folder().mkdir(parents=True, exist_ok=True)
    path = _folder() / name
    fresh = path.with_suffix(".new")
    fresh.touch(mode=0o600)
    fresh.write_text(json.dumps(content, indent=1))
    fresh.replace(path)
    return path
