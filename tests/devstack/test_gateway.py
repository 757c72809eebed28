"""The one port: who may ask, from where, and what is not served."""

import json
import urllib.error
import urllib.request

import pytest

from devstack import testing


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/storage/v1/bucket", 501, "does not serve /storage/v1"),
        ("/functions/v1/hello", 404, "function was not found"),
        ("/nowhere", 404, "Not Found: GET /nowhere"),
        ("/auth/v1/otp", 501, "by password only"),
    ],
)
def test_what_is_not_served_is_said_so(
    stack: testing.Stack, path: str, status: int, words: str
) -> None:
    """A client gets JSON that says so."""
    answered, _, body = ask(stack, path)

    assert answered == status
    assert words in (body.get("message") or body["msg"])


@pytest.mark.parametrize("path", ["/auth/v1/token", "/rest/v1/anything", "/auth/v1/admin/users"])
def test_browsers_may_ask_from_any_origin(stack: testing.Stack, path: str) -> None:
    """A preflight needs no key and allows what was asked for."""
    request = urllib.request.Request(
        stack.url + path,
        method="OPTIONS",
        headers={
            "Origin": "http://localhost:3000",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "apikey, x-client-info",
        },
    )
    with urllib.request.urlopen(request) as answer:
        headers = answer.headers

    assert headers["Access-Control-Allow-Origin"] == "*"
    assert headers["Access-Control-Allow-Headers"] == "apikey, x-client-info"
    assert ask(stack, path)[1]["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("key", ["", "not-a-key"])
def test_a_request_without_a_known_api_key_is_refused(stack: testing.Stack, key: str) -> None:
    """As hosted, the key is asked for before anything else."""
    assert ask(stack, "/auth/v1/health", key)[0] == 401
    assert ask(stack, "/rest/v1/anything", key)[0] == 401


def ask(
    stack: testing.Stack, path: str, key: str | None = None
) -> tuple[int, dict[str, str], dict[str, str]]:
    """Status, headers and body of a GET."""
    headers = {"apikey": stack.anon_key if key is None else key}
    request = urllib.request.Request(stack.url + path, headers=headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, dict(answer.headers), json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), json.load(error)
