"""What a person may choose, by flag or by `DEVSTACK_*` variable."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path


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
    def read(
        cls,
        environ: Mapping[str, str],
        *,
        state_dir: str | None = None,
        env_file: str | None = None,
        port: int | None = None,
        postgres_user: str | None = None,
        lifeline: bool = False,
    ) -> "Settings":
        """Settings from *environ*, overruled by the flags that are given."""
        chosen = state_dir or environ.get("DEVSTACK_STATE_DIR") or ".devstack"
        state = Path(chosen).absolute()
        binaries = environ.get("DEVSTACK_PG_BIN")
        asked_port = environ.get("DEVSTACK_PORT")
        functions = _folder(environ, "DEVSTACK_FUNCTIONS_DIR", "functions")
        secrets = environ.get("DEVSTACK_FUNCTIONS_ENV")
        return cls(
            state_dir=state,
            env_file=Path(env_file).absolute() if env_file else state / "devstack.env",
            migrations_dir=_folder(environ, "DEVSTACK_MIGRATIONS_DIR", "migrations"),
            functions_dir=functions,
            functions_env=Path(secrets).absolute() if secrets else functions / ".env",
            port=int(asked_port) if port is None and asked_port else port,
            postgres_bin=Path(binaries).absolute() if binaries else None,
            postgres_user=postgres_user,
            lifeline=lifeline,
            jwt_seconds=int(environ.get("DEVSTACK_JWT_SECONDS", "3600")),
            net=environ.get("DEVSTACK_NET", "on") != "off",
        )


def _folder(environ: Mapping[str, str], variable: str, name: str) -> Path:
    """As the official CLI does, look beside the caller first; else take the repository's."""
    if named := environ.get(variable):
        return Path(named).absolute()
    here = Path("supabase", name).absolute()
    return here if here.is_dir() else REPOSITORY / "supabase" / name
