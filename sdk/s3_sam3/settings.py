"""Where the service is; read from the environment once."""

from pydantic_settings import BaseSettings, SettingsConfigDict


class ClientSettings(BaseSettings):
    """Addresses and the public key; nothing secret."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    s3_api_url: str = "http://127.0.0.1:8080"
    """The public API."""

    supabase_url: str
    """The Supabase project: Auth and Realtime."""

    supabase_anon_key: str
    """Its publishable (anon) key."""
