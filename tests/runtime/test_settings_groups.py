"""Settings: what is missing is named, what is secret is not."""

import pytest

from runtime import settings


class Group(settings.SupabaseServiceSettings, settings.R2Settings):
    """A process that reads everything."""


GOOD = {
    "SUPABASE_URL": "https://x.supabase.co/",
    "SUPABASE_ANON_KEY": "anon",
    "SUPABASE_SERVICE_KEY": "very secret",
    "R2_ENDPOINT": "https://r2.example",
    "R2_ACCESS_KEY_ID": "id",
    "R2_SECRET_ACCESS_KEY": "very secret",
    "R2_BUCKET": "bucket",
}


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment with every variable set."""
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_a_complete_environment_is_read(environ: pytest.MonkeyPatch) -> None:
    """Values arrive; the URL loses its slash; secrets stay out of the repr."""
    group = settings.load(Group)

    assert group.supabase_url == "https://x.supabase.co"
    assert group.r2_secret_access_key.get_secret_value() == "very secret"
    assert "very secret" not in repr(group)


def test_every_missing_variable_is_named_at_once(environ: pytest.MonkeyPatch) -> None:
    """Unset and empty are both missing; one sentence names them all."""
    environ.delenv("SUPABASE_URL")
    environ.setenv("R2_BUCKET", "")

    with pytest.raises(settings.SettingsError) as error:
        settings.load(Group)

    assert str(error.value).startswith("The settings are incomplete: set ")
    assert "SUPABASE_URL" in str(error.value)
    assert "R2_BUCKET" in str(error.value)
    assert "SUPABASE_ANON_KEY" not in str(error.value)


def test_a_wrong_value_is_named_and_not_shown(environ: pytest.MonkeyPatch) -> None:
    """The variable is named; its value, which may be a mistyped secret, is not."""
    environ.setenv("SUPABASE_URL", "ftp-very-secret")

    with pytest.raises(settings.SettingsError) as error:
        settings.load(Group)

    assert "correct SUPABASE_URL" in str(error.value)
    assert "ftp-very-secret" not in str(error.value)


def test_a_process_leaves_with_78(
    environ: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wrong settings end a process at once, with sysexits' EX_CONFIG and one line."""
    environ.delenv("R2_BUCKET")

    with pytest.raises(SystemExit) as leaving:
        settings.load_or_exit(Group)

    assert leaving.value.code == 78
    assert capsys.readouterr().err.count("\n") == 1
