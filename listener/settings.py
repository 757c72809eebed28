"""The listener's settings, read once from the environment by `__main__`."""

from typing import Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, SecretStr, model_validator

from listener.webhooks import Secrets
from runtime import logs, settings
from s3_sam3 import signatures


class ListenerSettings(settings.SupabaseServiceSettings):
    """What `python -m listener` needs; docs/settings.md explains each."""

    listener_pipeline_url: settings.HttpUrl = "http://127.0.0.1:8081"
    listener_concurrency: int = Field(default=2, ge=1, le=100)
    listener_memory_mb: int | None = Field(default=None, ge=0, lt=2**31)
    listener_poll_seconds: PositiveFloat = 10.0
    listener_deadline_seconds: PositiveInt = 300
    listener_grace_seconds: float = Field(default=30.0, ge=0)
    listener_realtime: Literal["on", "off"] = "on"
    listener_webhook_port: int | None = Field(default=None, ge=0, le=65535)
    """None: no server."""
    listener_webhook_secrets: SecretStr = SecretStr("")
    listener_webhook_shared_secret: SecretStr = SecretStr("")
    api_secret_key: SecretStr
    r2_endpoint: settings.HttpUrl | None = None
    """The bucket's keys, for a trusted host only; without them `job-urls` signs URLs."""
    r2_access_key_id: str | None = None
    r2_secret_access_key: SecretStr | None = None
    r2_bucket: str | None = None
    s3_machine_email: str | None = None
    s3_machine_password: SecretStr | None = None
    s3_log_format: logs.LogFormat = "auto"

    @model_validator(mode="after")
    def _all_bucket_keys_or_none(self) -> Self:
        given = [getattr(self, name) is not None for name in settings.R2Settings.model_fields]
        if any(given) and not all(given):
            msg = "R2_ENDPOINT, R2_ACCESS_KEY_ID, R2_SECRET_ACCESS_KEY and R2_BUCKET go together"
            raise ValueError(msg)
        return self

    @property
    def bucket_keys(self) -> settings.R2Settings | None:
        """How to reach the bucket; None on a host that holds no keys."""
        if self.r2_endpoint is None:
            return None
        names = settings.R2Settings.model_fields
        return settings.R2Settings.model_validate({name: getattr(self, name) for name in names})

    @model_validator(mode="after")
    def _webhooks_can_be_proven(self) -> Self:
        secrets = self.webhook_secrets
        for secret in secrets.signing:
            try:
                signatures.check_secret(secret)
            except signatures.BadSecret:
                msg = "LISTENER_WEBHOOK_SECRETS takes whsec_ and base64, separated by commas"
                raise ValueError(msg) from None
        if self.listener_webhook_port is not None and not (secrets.signing or secrets.shared):
            msg = (
                "LISTENER_WEBHOOK_PORT needs LISTENER_WEBHOOK_SECRETS or"
                " LISTENER_WEBHOOK_SHARED_SECRET"
            )
            raise ValueError(msg)
        return self

    @property
    def webhook_secrets(self) -> Secrets:
        """What proves the sender of a webhook; empty where none is taken."""
        listed = self.listener_webhook_secrets.get_secret_value().split(",")
        return Secrets(
            signing=tuple(secret.strip() for secret in listed if secret.strip()),
            shared=self.listener_webhook_shared_secret.get_secret_value() or None,
        )
