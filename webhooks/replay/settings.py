"""What the tool reads from the environment; docs/settings.md explains each."""

from pathlib import Path

import platformdirs
from pydantic import Field, SecretStr

from runtime import settings


def state_folder() -> Path:
    """Where checkpoints lie when REPLAY_STATE_DIR is silent."""
    return Path(platformdirs.user_state_dir("s3-sam3")) / "replay"


class ReplaySettings(settings.EnvironmentSettings):
    """For every command."""

    replay_secret: SecretStr | None = None
    replay_state_dir: Path = Field(default_factory=state_folder)


class DatabaseSettings(settings.EnvironmentSettings):
    """For `--from outbox` and `--from rows`: the key that passes row-level security."""

    supabase_url: settings.HttpUrl
    supabase_service_key: SecretStr = Field(min_length=1)
