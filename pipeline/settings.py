"""The pipeline's settings (docs/settings.md); `runtime.settings.load_or_exit` reads them."""

from typing import Literal

from pydantic import Field, SecretStr

from runtime.settings import EnvironmentSettings


#: Which code computes attention.
Attention = Literal["auto", "sdpa", "eager"]

#: How much of the model `torch.compile` fuses.
Compile = Literal["off", "vision", "full"]

#: What the model must get right before it may serve; see `pipeline.model.self_test`.
SelfTest = Literal["picture", "finite", "off"]


class Settings(EnvironmentSettings):
    """Every setting is named as its environment variable, in lower case."""

    api_secret_key: SecretStr = Field(
        min_length=1,
        description=(
            "the pipeline's key, which the listener sends as X-API-Key: the same value for both,"
            " for example the output of `openssl rand -hex 32`"
        ),
    )
    pipeline_port: int = Field(default=8081, ge=0, le=65535)
    pipeline_gpu_cache_bytes: int = Field(default=1_073_741_824, ge=0)
    """Most bytes of vision features kept on the GPU; 56 MB for a picture in bfloat16."""
    pipeline_host_cache_bytes: int = Field(default=2_147_483_648, ge=0)
    """The same in the host's memory, for what has left the GPU; on a CPU, for all."""
    sam3_weights_path: str = ""
    sam3_device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    sam3_dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    sam3_attention: Attention = "auto"
    sam3_compile: Compile = "off"
    sam3_self_test: SelfTest = "picture"
    hf_token: SecretStr | None = None
    s3_log_format: Literal["auto", "json", "text"] = "auto"
