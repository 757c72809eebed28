"""Nothing is sent to a host that was not allowed."""

from collections.abc import Callable
from pathlib import Path

import pytest
from failing_receiver import Receiver, Replay, message

from webhooks.replay import UsageError
from webhooks.replay.selection import checked


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:1/x",
        "http://127.0.0.1/",
        "http://127.9.9.9/",
        "http://[::1]:8/",
        "http://a.localhost/",
    ],
)
def test_this_machine_needs_no_permission(url: str) -> None:
    """Loopback names and addresses are local."""
    assert str(checked(url, (), typed=True)) == url


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/hook",
        "http://10.0.0.1/",
        "http://169.254.169.254/latest",
        "http://localhost.example.com/",
        "http://127.0.0.1.example.com/",
        "http://0.0.0.0/",
        "http://2130706433/",
    ],
)
def test_any_other_host_must_be_named(url: str) -> None:
    """A host that is not this machine by its name is refused, unless --target-allow names it."""
    with pytest.raises(UsageError, match="--target-allow"):
        checked(url, ["example.org"], typed=True)

    host = url.split("/")[2]
    assert str(checked(url, [host.upper()], typed=True)) == url


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://localhost:1/x", "LOCALHOST"),
        ("http://127.0.0.1/", "127.0.0.1"),
        ("http://[::1]:8/", "[::1]"),
        ("https://example.com/hook", "example.com"),
    ],
)
def test_a_messages_own_url_needs_its_host_named(url: str, host: str) -> None:
    """Loopback is no exception there: the URL comes from a user, not from the operator."""
    with pytest.raises(UsageError, match="--target-allow"):
        checked(url, ["example.org"], typed=False)

    assert str(checked(url, [host], typed=False)) == url


@pytest.mark.parametrize(
    "url",
    [
        "ftp://localhost/",
        "localhost:80",
        "http://",
        "http://user:pass@localhost/",
    ],
)
def test_only_plain_http_urls_are_targets(url: str) -> None:
    """Other schemes, and passwords in a URL, are usage errors."""
    with pytest.raises(UsageError):
        checked(url, ["localhost"], typed=True)


@pytest.mark.parametrize("host", ["example.com", "127.0.0.1"])
async def test_a_recorded_url_that_nobody_named_ends_with_usage_before_anything(
    replay: Replay, recorded: Callable[..., Path], host: str
) -> None:
    """Exit 2, and the message says which option would allow it."""
    path = recorded(message(url=f"https://{host}/hook"))

    ran = await replay("--from", str(path), "--yes")

    assert ran.code == 2
    assert f"--target-allow {host}" in ran.err


async def test_a_recorded_url_that_was_named_is_sent_to(
    replay: Replay, receiver: Receiver, recorded: Callable[..., Path]
) -> None:
    """Control: the same line with --target-allow."""
    path = recorded(message(url=receiver.url))

    ran = await replay("--from", str(path), "--yes", "--target-allow", "127.0.0.1")

    assert ran.code == 0
    assert len(receiver.requests) == 1
