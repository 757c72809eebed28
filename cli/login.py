"""`s3 login`, `s3 logout`: who later commands speak as."""

import asyncio
from typing import Annotated

import typer

from cli import config, show
from s3_sam3 import NotSignedIn, Session


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
    """Sign in and stay signed in."""
    where = config.settings()
    enter = Session.sign_up if sign_up else Session.sign_in
    session = asyncio.run(
        enter(
            supabase_url=where.supabase_url,
            anon_key=where.supabase_anon_key,
            email=email,
            password=password,
        )
    )
    config.remember_service(where)
    config.remember_session(session.tokens)
    show.err.print(f"Signed in as [bold]{session.tokens.email}[/].")


def logout() -> None:
    """Sign out here and on the server."""
    try:
        session = config.session()
    except NotSignedIn:
        show.err.print("Nobody was signed in.")
        return
    config.forget_session()
    asyncio.run(session.sign_out())
    show.err.print("Signed out.")
