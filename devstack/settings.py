"""What a person may choose: flags of `python -m devstack`, and two variables."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any


#: The gateway's port when nothing else is asked: that of `supabase start`.
DEFAULT_PORT = 54321

REPOSITORY = Path(__file__).resolve().parent.parent


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Choices of one stack. Every path is absolute."""

    state_dir: Path
    #: Where the env file appears once everything answers.
    env_file: Path
    #: Folder of `<version>_<name>.sql` files.
    migrations_dir: Path
    #: Folder of Edge Functions; config.toml lies beside it.
    functions_dir: Path
    #: Secrets of the functions, as `supabase secrets set` gives them to hosted ones.
    functions_env: Path
    #: Gateway port: None keeps the one of the last start, 0 picks a free one at the first start.
    port: int | None = None
    #: Folder of `initdb` and `postgres`, version 18; None takes the pip wheel's.
    postgres_bin: Path | None = None
    #: As whom PostgreSQL runs when we are root; None prefers a user namespace.
    postgres_user: str | None = None
    #: Whether to stop when standard input ends, so as not to outlive the program that started us.
    lifeline: bool = False
    #: Life of an access token. Short ones let tests see an expiry.
    jwt_seconds: int = 3600
    #: Whether the database has the schema `net`, as a project with pg_net has.
    net: bool = True
    bucket: str = "s3-media"
    #: Soft limit of SeaweedFS' heap (Go's notation); less memory costs throughput.
    object_store_memory: str = "384MiB"

    @classmethod
    def read(cls, environ: Mapping[str, str], flags: Mapping[str, Any]) -> "Settings":
        """Settings from *flags*, which are named as the fields, and else from *environ*."""
        given = {name: value for name, value in flags.items() if value is not None}
        state = Path(environ.get("DEVSTACK_STATE_DIR") or ".devstack").absolute()
        state = given.setdefault("state_dir", state)
        if port := environ.get("DEVSTACK_PORT"):
            given.setdefault("port", int(port))
        functions = given.setdefault("functions_dir", _folder("functions"))
        given.setdefault("functions_env", functions / ".env")
        given.setdefault("migrations_dir", _folder("migrations"))
        given.setdefault("env_file", state / "devstack.env")
        names = {field.name for field in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in given.items() if name in names})


def _folder(name: str) -> Path:
    """As the official CLI does, look beside the caller first; else take the repository's."""
    here = Path("supabase", name).absolute()
    return here if here.is_dir() else REPOSITORY / "supabase" / name
