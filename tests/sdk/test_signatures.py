"""Signatures of webhooks: the shared vectors, by three implementations; and what is refused."""

import datetime as dt
import json
from pathlib import Path
from typing import Any

import psycopg
import pytest
import standardwebhooks
from standardwebhooks import webhooks as official

from s3_sam3 import signatures


VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "vectors/webhook_signatures.json").read_text()
)["vectors"]
GOOD = [vector for vector in VECTORS if vector["error"] is None]
SECRET = VECTORS[0]["secrets"][0]

each_vector = pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
each_good_vector = pytest.mark.parametrize("vector", GOOD, ids=lambda vector: vector["name"])


def verdict(vector: dict[str, Any]) -> str | None:
    """The error of ours that *vector* meets, by name; None: it is taken."""
    body = vector["body"].encode()
    try:
        webhook_id = signatures.verify(vector["secrets"], vector["headers"], body, vector["now"])
    except signatures.SignatureError as error:
        return type(error).__name__
    assert webhook_id == vector["headers"]["webhook-id"]
    return None


@each_vector
def test_verifies_each_vector(vector: dict[str, Any]) -> None:
    """Ours takes and refuses what the vectors say, for the reason they say."""
    assert verdict(vector) == vector["error"]


@each_vector
def test_the_official_library_agrees(
    vector: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyPI's standardwebhooks takes and refuses the same."""
    monkeypatch.setattr(official, "datetime", clock_at(vector["now"]))

    assert officially_taken(vector) is (vector["error"] is None)


@each_good_vector
async def test_sql_signs_the_same(vector: dict[str, Any], db: psycopg.AsyncConnection[Any]) -> None:
    """`segmentation.webhook_signature` signs with a receiver's secret what the receiver takes."""
    headers = vector["headers"]
    cursor = await db.execute(
        "select array_agg(segmentation.webhook_signature(secret, %s, %s, %s))"
        " from unnest(%s::text[]) as secret",
        (headers["webhook-id"], headers["webhook-timestamp"], vector["body"], vector["secrets"]),
    )
    [signed] = await cursor.fetchone() or [[]]

    assert set(signed) & set(headers["webhook-signature"].split())


@each_good_vector
def test_signs_what_the_official_library_takes(
    vector: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Headers of ours pass the official library, for each of two secrets."""
    monkeypatch.setattr(official, "datetime", clock_at(vector["now"]))
    secrets = [
        VECTORS[0]["secrets"][0],
        next(v for v in GOOD if v["name"] == "long_secret")["secrets"][0],
    ]
    body = vector["body"].encode()

    headers = signatures.signed_headers(secrets, "msg_ours", vector["now"], body)

    for secret in secrets:
        standardwebhooks.Webhook(secret).verify(body, headers, json_parse=False)


def test_header_names_may_be_in_any_case() -> None:
    """HTTP's header names have no case."""
    headers = signatures.signed_headers([SECRET], "msg_one", 1000, b"{}")
    shouted = {name.upper(): value for name, value in headers.items()}

    assert signatures.verify([SECRET], shouted, b"{}", now=1000) == "msg_one"


@pytest.mark.parametrize(
    "timestamp", ["1000.0", "01000", "-1000", "\u0661\u0660\u0660\u0660", "1" * 16, "1e3", " 1000"]
)
def test_a_timestamp_has_one_spelling(timestamp: str) -> None:
    """What `float` or `int` would also read is refused: the text itself is signed."""
    headers = signatures.signed_headers([SECRET], "msg_one", 1000, b"{}")

    with pytest.raises(signatures.BadTimestamp):
        signatures.verify([SECRET], {**headers, "webhook-timestamp": timestamp}, b"{}", now=1000)


def test_without_secrets_nothing_is_proven() -> None:
    """A receiver that holds no secret takes nothing."""
    headers = signatures.signed_headers([SECRET], "msg_one", 1000, b"{}")

    with pytest.raises(signatures.WrongSignature):
        signatures.verify([], headers, b"{}", now=1000)


@pytest.mark.parametrize("hostile", ["\udcff", "v1", ",", "v1,", "v1,===", "é"])
def test_a_senseless_signature_is_wrong_and_no_accident(hostile: str) -> None:
    """Whatever stands in the header, the answer is WrongSignature."""
    headers = signatures.signed_headers([SECRET], "msg_one", 1000, b"{}")

    with pytest.raises(signatures.WrongSignature):
        signatures.verify([SECRET], {**headers, "webhook-signature": hostile}, b"{}", now=1000)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_not base64", "c2VjcmV0", "whsec_c2V"])
def test_a_bad_secret_is_named_as_such(secret: str) -> None:
    """A secret that is not `whsec_` and base64 is a fault of the settings, found at the start."""
    with pytest.raises(signatures.BadSecret):
        signatures.check_secret(secret)


@pytest.mark.parametrize("blind", ["id", "timestamp", "body"])
def test_a_verifier_that_skips_a_part_is_noticed(
    blind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: signing less than id, time and body, the vectors disagree."""
    whole = signatures._signature

    def partial(secret: str, webhook_id: str, timestamp: int, body: bytes) -> str:
        return whole(
            secret,
            "msg_one" if blind == "id" else webhook_id,
            VECTORS[0]["now"] if blind == "timestamp" else timestamp,
            VECTORS[0]["body"].encode() if blind == "body" else body,
        )

    monkeypatch.setattr(signatures, "_signature", partial)

    assert [vector["name"] for vector in VECTORS if verdict(vector) != vector["error"]]


def clock_at(now: int) -> type[dt.datetime]:
    """A datetime whose clock stands."""

    class Stopped(dt.datetime):
        """Stands at the vector's moment."""

        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> "Stopped":
            """The vector's moment."""
            return cls.fromtimestamp(now, tz)

    return Stopped


def officially_taken(vector: dict[str, Any]) -> bool:
    """Whether the official library takes it with any of the receiver's secrets."""
    for secret in vector["secrets"]:
        try:
            standardwebhooks.Webhook(secret).verify(
                vector["body"], vector["headers"], json_parse=False
            )
        except standardwebhooks.WebhookVerificationError:
            continue
        return True
    return False
