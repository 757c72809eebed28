"""The pipeline's settings, read once from the environment (docs/settings.md)."""

from pathlib import Path
from typing import Literal

import platformdirs
from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


#: Which code computes attention; `flash` is the package flash-attn.
Attention = Literal["auto", "sdpa", "eager", "flash"]

#: How much of the model `torch.compile` fuses.
Compile = Literal["off", "vision", "full"]

#: What the model must get right before it may serve; see `pipeline.self_test`.
SelfTest = Literal["picture", "finite", "off"]

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
    pipeline_mask_bytes: int = Field(default=2_147_483_648, ge=1)
    """Most bytes of masks that wait to be outlined; the model waits with them. A prompt's in one
    view take up to 66 MB."""
    pipeline_places: int = Field(default=64, ge=1)
    """Requests inside at once; the next gets 503."""
    pipeline_upload_bytes: int = Field(default=536_870_912, ge=1)
    """Most bytes of pictures that wait to be decoded; what comes beyond gets 503."""
    pipeline_picture_bytes: int = Field(default=2_147_483_648, ge=1)
    """Most bytes of decoded pictures at once; what comes beyond waits."""
    pipeline_drawing_bytes: int = Field(default=1_073_741_824, ge=1)
    """Most bytes that drawing takes beside the pictures, 13 for each pixel; the same."""
    pipeline_side_threads: int = Field(default=0, ge=0)
    """Threads beside the model's own; 0: by the cores."""
    pipeline_decoders: int = Field(default=0, ge=0, le=64)
    """Processes that decode, one picture at a time each; 0: by the cores."""
    pipeline_gpu_cache_bytes: int = Field(default=1_073_741_824, ge=0)
    """Most bytes of vision features remembered on the GPU; 56 MB for a picture in bfloat16."""
    pipeline_host_cache_bytes: int = Field(default=2_147_483_648, ge=0)
    """The same in the host's memory, for what has left the GPU; on a CPU, for all."""
    sam3_weights_path: str = ""
    sam3_device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    sam3_dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    sam3_attention: Attention = "auto"
    sam3_compile: Compile = "off"
    sam3_cuda_graphs: Literal["on", "off"] = "off"
    sam3_channels_last: Literal["on", "off"] = "off"
    sam3_tf32: Literal["on", "off"] = "off"
    sam3_self_test: SelfTest = "picture"
    hf_token: SecretStr | None = None
    s3_cache_dir: Path = Field(default_factory=lambda: platformdirs.user_cache_path("s3-sam3"))
    """Where the revision of large weights is remembered."""
    s3_log_format: Literal["auto", "json", "text"] = "auto"

    @field_validator("sam3_cuda_graphs")
    @classmethod
    def _graphs_are_compiled(cls, value: str, info: ValidationInfo) -> str:
        """A graph is recorded from compiled code."""
        if value == "on" and info.data.get("sam3_compile") == "off":
            msg = "set SAM3_COMPILE=vision or full as well"
            raise ValueError(msg)
        return value


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
