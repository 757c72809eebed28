"""The listener's settings, read once from the environment by `__main__`."""

import os
import socket
from typing import Self

from pydantic import Field, PositiveFloat, PositiveInt, SecretStr, model_validator

from adapters import settings, telemetry
from listener.lease import SURE_SHARE


class ListenerSettings(settings.SupabaseServiceSettings, settings.R2Settings):
    """What `python -m listener` needs; docs/settings.md explains each."""

    listener_pipeline_url: settings.HttpUrl = "http://127.0.0.1:8081"
    listener_worker: str = Field(
        default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}", max_length=120
    )
    listener_concurrency: int = Field(default=2, ge=1, le=100)
    listener_memory_mb: int | None = Field(default=None, ge=0, lt=2**31)
    listener_poll_seconds: PositiveFloat = 10.0
    listener_lease_seconds: PositiveInt = 30
    listener_renew_seconds: PositiveFloat = 2.0
    """A cancelled task is let go at the next renewal."""
    listener_deadline_seconds: PositiveInt = 300
    listener_grace_seconds: float = Field(default=30.0, ge=0)
    api_secret_key: SecretStr
    s3_machine_email: str | None = None
    s3_machine_password: SecretStr | None = None
    s3_log_format: telemetry.LogFormat = "auto"

    @model_validator(mode="after")
    def _renews_in_time(self) -> Self:
        sure_seconds = self.listener_lease_seconds * SURE_SHARE
        if self.listener_renew_seconds * 2 > sure_seconds:
            msg = "LISTENER_RENEW_SECONDS must be at most 0.4 of LISTENER_LEASE_SECONDS"
            raise ValueError(msg)
        return self
