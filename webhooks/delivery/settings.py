"""The dispatcher's settings, read once from the environment by `__main__`."""

from typing import Self

from pydantic import Field, PositiveFloat, PositiveInt, SecretStr, model_validator

from runtime import logs, settings


class DispatcherSettings(settings.EnvironmentSettings):
    """What `python -m webhooks.delivery` needs; docs/settings.md explains each."""

    supabase_url: settings.HttpUrl
    # Not the optional one of SupabaseServiceSettings: without this key there is nothing to do.
    supabase_service_key: SecretStr = Field(min_length=1)
    dispatcher_poll_seconds: PositiveFloat = 1.0
    dispatcher_concurrency: PositiveInt = 200
    dispatcher_endpoint_concurrency: PositiveInt = 4
    dispatcher_lease_seconds: int = Field(default=60, ge=1, le=3600)
    dispatcher_timeout_seconds: PositiveFloat = 15.0
    dispatcher_grace_seconds: PositiveFloat = 20.0
    dispatcher_allow_private: bool = False
    s3_log_format: logs.LogFormat = "auto"

    @model_validator(mode="after")
    def _lease_outlives_an_attempt(self) -> Self:
        if self.dispatcher_lease_seconds < 2 * self.dispatcher_timeout_seconds:
            msg = "DISPATCHER_LEASE_SECONDS must be twice DISPATCHER_TIMEOUT_SECONDS or more"
            raise ValueError(msg)
        return self
