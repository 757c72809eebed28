"""The janitor's settings, read once from the environment by `__main__`."""

from enum import StrEnum

from pydantic import Field, PositiveFloat, PositiveInt, SecretStr

from runtime import logs, settings


class SweepMode(StrEnum):
    """What the running process does about orphaned objects."""

    OFF = "off"
    REPORT = "report"
    """Log what a sweep would delete."""
    DELETE = "delete"


class JanitorSettings(settings.R2Settings):
    """What `python -m janitor` needs; docs/settings.md explains each."""

    supabase_url: settings.HttpUrl
    # Not the optional one of SupabaseServiceSettings: without this key there is nothing to do.
    supabase_service_key: SecretStr = Field(min_length=1)
    janitor_reap_seconds: PositiveFloat = 10.0
    janitor_delete_seconds: PositiveFloat = 3.0
    janitor_lease_seconds: PositiveInt = 60
    janitor_prune_seconds: PositiveFloat = 3600.0
    janitor_webhook_days: PositiveInt = 30
    janitor_ledger_seconds: PositiveFloat = 3600.0
    janitor_sweep: SweepMode = SweepMode.REPORT
    janitor_sweep_seconds: PositiveFloat = 86400.0
    janitor_sweep_limit: PositiveInt = 10_000
    janitor_results_age_hours: float = Field(default=48.0, ge=0)
    janitor_uploads_age_hours: float = Field(default=168.0, ge=0)
    janitor_port: int | None = Field(default=None, ge=0, le=65535)
    s3_log_format: logs.LogFormat = "auto"
