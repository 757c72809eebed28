"""What the CLI keeps between commands: where the service is, and who is signed in."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import platformdirs
from pydantic import ValidationError

from s3_sam3 import ClientSettings, NotSignedIn, S3Client, S3Error, Session
from s3_sam3.session import Tokens


SERVICE_FILE = "service.json"
SESSION_FILE = "session.json"


class NoService(S3Error):
    """No service is known. Set SUPABASE_URL and SUPABASE_ANON_KEY, or start one with `s3 up`."""

    def __init__(self) -> None:
        super().__init__(type(self).__doc__)


def folder() -> Path:
    """Where the two files lie: S3_CONFIG_DIR or the platform's own place."""
    return Path(os.environ.get("S3_CONFIG_DIR") or platformdirs.user_config_dir("s3-sam3"))


def settings() -> ClientSettings:
    """The environment first, then what `s3 up` or `s3 login` wrote down."""
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
    """Write down where the service is; later commands use it when the environment is silent."""
    return _write(SERVICE_FILE, service.model_dump())


def remember_session(tokens: Tokens) -> None:
    """Keep the session for later commands, readable by its owner alone."""
    _write(SESSION_FILE, dataclasses.asdict(tokens))


def forget_session() -> None:
    """Sign out on this machine."""
    (folder() / SESSION_FILE).unlink(missing_ok=True)


def session() -> Session:
    """The kept session; raises NotSignedIn."""
    kept = _read(SESSION_FILE)
    where = settings()
    if not kept:
        raise NotSignedIn
    return Session(
        supabase_url=where.supabase_url,
        anon_key=where.supabase_anon_key,
        tokens=Tokens(**kept),
        on_change=remember_session,
    )


def client() -> S3Client:
    """A client that speaks as the signed-in user."""
    return S3Client(session(), api_url=settings().s3_api_url)


def _read(name: str) -> dict[str, Any]:
    try:
        kept: dict[str, Any] = json.loads((folder() / name).read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return kept


def _write(name: str, content: dict[str, object]) -> Path:
    folder().mkdir(parents=True, exist_ok=True)
    path = folder() / name
    fresh = path.with_suffix(".new")
    fresh.touch(mode=0o600)
    fresh.write_text(json.dumps(content, indent=1))
    fresh.replace(path)
    return path
