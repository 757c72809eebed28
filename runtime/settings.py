"""
Settings groups that several processes read, and the one way to read settings.

A field's name is its environment variable in lower case, so a process joins groups by inheriting
from them, and an error names the variable. The service key is in a group of its own: a process
that does not inherit it cannot hold it.
"""

import sys
from typing import Annotated, Final, TypeVar

from pydantic import AfterValidator, Field, SecretStr, StringConstraints, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict


EX_CONFIG: Final = 78
"""Exit status of a process whose settings are wrong (sysexits.h)."""


class SettingsError(Exception):
    """The settings are missing or wrong; the message names the variables."""


HttpUrl = Annotated[
    str,
    StringConstraints(pattern=r"^https?://[^\s/]+", strip_whitespace=True),
    AfterValidator(lambda url: url.rstrip("/")),
]
"""An http(s) URL without the closing slash."""


class EnvironmentSettings(BaseSettings):
    """Settings from the environment; an empty variable counts as unset."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True)


class SupabaseSettings(EnvironmentSettings):
    """Where the project is, and the key that anybody may know."""

    supabase_url: HttpUrl
    supabase_anon_key: str = Field(min_length=1)


class SupabaseServiceSettings(SupabaseSettings):
    """For a trusted host only: the key that passes row-level security."""

    supabase_service_key: SecretStr | None = None


class ServiceKeySettings(EnvironmentSettings):
    """For a process that can do nothing without that key."""

    supabase_url: HttpUrl
    supabase_service_key: SecretStr = Field(min_length=1)


class R2Settings(EnvironmentSettings):
    """The object store; any server that speaks S3."""

    r2_endpoint: HttpUrl
    r2_access_key_id: str = Field(min_length=1)
    r2_secret_access_key: SecretStr
    r2_bucket: str = Field(min_length=1)


Read = TypeVar("Read", bound=BaseSettings)


def load(group: type[Read]) -> Read:
    """
    Read *group* from the environment.

    Raises: SettingsError, with one sentence that names every variable at fault and no value.
    """
    try:
        return group()
    except ValidationError as error:
        raise SettingsError(explain(error, group)) from None


def load_or_exit(group: type[Read]) -> Read:
    """Read *group*, or leave the process with EX_CONFIG and one sentence on stderr."""
    try:
        return load(group)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(EX_CONFIG) from None


def explain(error: ValidationError, group: type[BaseSettings]) -> str:
    """
    Say in one sentence which variables are missing and which are wrong; values stay out.

    A missing variable is explained by its field's `description`, where it has one.
    """
    missing: list[str] = []
    wrong: list[str] = []
    for fault in error.errors(include_input=False, include_url=False, include_context=False):
        variable = str(fault["loc"][0]).upper() if fault["loc"] else error.title
        if fault["type"] == "missing":
            remedy = group.model_fields[str(fault["loc"][0])].description
            missing.append(f"{variable} ({remedy})" if remedy else variable)
        else:
            wrong.append(f"{variable} ({fault['msg']})")
    parts = []
    if missing:
        parts.append(f"set {', '.join(missing)}")
    if wrong:
        parts.append(f"correct {', '.join(wrong)}")
    return f"The settings are incomplete: {' and '.join(parts)}; docs/settings.md lists them all."
