"""Settings of the webhook server: what cannot work is refused at the start."""

from typing import Any

import pydantic
import pytest
from webhook_server import OTHER, SECRET

from listener.settings import ListenerSettings


NEEDED = {
    "supabase_url": "http://project.example",
    "supabase_anon_key": "anon",
    "r2_endpoint": "http://r2.example",
    "r2_access_key_id": "id",
    "r2_secret_access_key": "key",
    "r2_bucket": "bucket",
    "api_secret_key": "secret",
}


def test_secrets_are_read_from_a_list() -> None:
    """Secrets are separated by commas; spaces do not matter."""
    listed = f" {SECRET}, {OTHER},"

    config = ListenerSettings(**NEEDED, listener_webhook_secrets=listed)  # type: ignore[arg-type]

    assert config.webhook_secrets.signing == (SECRET, OTHER)
    assert SECRET not in repr(config)
    assert SECRET not in repr(config.webhook_secrets)


@pytest.mark.parametrize(
    "wrong",
    [
        {"listener_webhook_port": 9000},
        {"listener_webhook_port": 9000, "listener_webhook_secrets": " , "},
        {"listener_webhook_secrets": f"{SECRET},hunter2"},
        {"listener_realtime": "perhaps"},
    ],
)
def test_settings_that_could_not_work_are_refused(wrong: dict[str, Any]) -> None:
    """A port without secrets, or a secret that cannot sign, ends the start."""
    with pytest.raises(pydantic.ValidationError) as caught:
        ListenerSettings(**NEEDED, **wrong)

    assert "hunter2" not in str(caught.value.errors(include_input=False))
