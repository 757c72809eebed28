"""What the API reads from the environment, once, at its start."""

from pathlib import Path

from pydantic import Field, SecretStr

from runtime import logs, settings


class ApiSettings(settings.SupabaseSettings, settings.R2Settings):
    """
    Each field is the environment variable of the same name in capitals.

    There is no service key among them: the API acts with its caller's token or not at all.
    """

    supabase_jwt_secret: SecretStr | None = None
    api_host: str = "127.0.0.1"
    api_port: int = Field(default=8080, ge=0, le=65535)
    api_cors_origins: str = "*"
    api_tokenizer_path: Path | None = None
    s3_log_format: logs.LogFormat = "auto"

    @property
    def cors_origins(self) -> frozenset[str]:
        """The origins whose pages may call; `*` among them lets every page."""
        return frozenset(origin.strip() for origin in self.api_cors_origins.split(","))
