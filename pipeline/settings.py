"""The pipeline's settings, read once from the environment (docs/settings.md)."""

from pathlib import Path
from typing import Literal

import platformdirs
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict


#: What to say when a setting is absent; pydantic's own words name no remedy.
_REMEDIES = {
    "api_secret_key": (
        "API_SECRET_KEY is missing: the key that the listener sends as X-API-Key. Set the same"
        " value for pipeline and listener, for example the output of `openssl rand -hex 32`."
    )
}


class Settings(BaseSettings):
    """Every setting is named as its environment variable, in lower case."""

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True)

    api_secret_key: SecretStr = Field(min_length=1)
    pipeline_host: str = "127.0.0.1"
    pipeline_port: int = Field(default=8081, ge=0, le=65535)
    pipeline_chunk_bytes: int = Field(default=268_435_456, ge=1)
    """Most bytes of upsampled masks at once."""
    sam3_weights_path: str = ""
    sam3_device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    sam3_dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    hf_token: SecretStr | None = None
    s3_cache_dir: Path = Field(default_factory=lambda: platformdirs.user_cache_path("s3-sam3"))
    """Where the revision of large weights is remembered."""
    s3_log_format: Literal["auto", "json", "text"] = "auto"


class SettingsInvalid(Exception):
    """The environment does not hold usable settings; the message names each and the remedy."""


def from_environment() -> Settings:
    """
    Read the settings.

    Raises:
        SettingsInvalid: with one sentence per variable.

    """
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsInvalid("\n".join(map(_sentence, error.errors()))) from None


def _sentence(problem: object) -> str:
    """One variable, what is wrong, what to do. Never the value: it may be a secret."""
    assert isinstance(problem, dict)  # noqa: S101
    name = str(problem["loc"][0])
    return _REMEDIES.get(name) or f"{name.upper()}: {problem['msg']}."
