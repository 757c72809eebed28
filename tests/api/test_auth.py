"""Authentication: good tokens, and forged ones that each differ from a good one in one thing."""

import base64
import time
from collections.abc import AsyncIterator, Callable
from uuid import uuid4

import aiohttp
import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from forged_tokens import (
    EC_KEY,
    ISSUER,
    OTHER_KEY,
    RSA_KEY,
    SECRET,
    USER,
    Clock,
    Project,
    by_hand,
    claims,
    es256,
    hs256,
    pem,
    public_jwk,
)

from api.auth import Authenticator
from api.jwks import Jwks
from api.problems import Problem
from s3_sam3.contracts.errors import ErrorCode


@pytest.fixture
def project() -> Project:
    """One project."""
    return Project()


@pytest.fixture
def clock() -> Clock:
    """One clock."""
    return Clock()


Make = Callable[..., Authenticator]


@pytest.fixture
async def make(project: Project, clock: Clock) -> AsyncIterator[Make]:
    """A factory of authenticators of the project."""
    app = web.Application()
    app.router.add_get("/jwks", project.jwks)
    async with TestServer(app) as server, aiohttp.ClientSession() as http:

        def build(secret: str | None = SECRET) -> Authenticator:
            jwks = Jwks(http, str(server.make_url("/jwks")), "anon", clock)
            return Authenticator(jwks=jwks, issuer=ISSUER, secret=secret)

        yield build


GOOD: dict[str, Callable[[], str]] = {
    "ES256": es256,
    "RS256": lambda: jwt.encode(claims(), RSA_KEY, "RS256", headers={"kid": "rsa"}),
    "HS256": hs256,
    "expired within the leeway": lambda: es256(exp=int(time.time()) - 3),
    "a jku that nobody follows": lambda: es256(headers={"jku": "http://evil.example/jwks"}),
}

BAD: dict[str, tuple[Callable[[], str], ErrorCode]] = {
    "expired": (lambda: es256(exp=int(time.time()) - 60), ErrorCode.TOKEN_EXPIRED),
    "expired, HS256": (lambda: hs256(exp=int(time.time()) - 60), ErrorCode.TOKEN_EXPIRED),
    "alg none": (lambda: by_hand({"alg": "none", "kid": "ec"}, b""), ErrorCode.UNAUTHENTICATED),
    "alg none, with the secret": (
        lambda: by_hand({"alg": "none"}, SECRET.encode()),
        ErrorCode.UNAUTHENTICATED,
    ),
    "HS256 signed with the EC public key": (
        lambda: by_hand({"alg": "HS256", "kid": "ec"}, pem(EC_KEY)),
        ErrorCode.UNAUTHENTICATED,
    ),
    "HS256 signed with the RSA public key": (
        lambda: by_hand({"alg": "HS256", "kid": "rsa"}, pem(RSA_KEY)),
        ErrorCode.UNAUTHENTICATED,
    ),
    "RS256 under the EC key's id": (
        lambda: jwt.encode(claims(), RSA_KEY, "RS256", headers={"kid": "ec"}),
        ErrorCode.UNAUTHENTICATED,
    ),
    "HS384 with the secret": (
        lambda: jwt.encode(claims(), SECRET.ljust(48), "HS384"),
        ErrorCode.UNAUTHENTICATED,
    ),
    "signed with another key": (lambda: es256(key=OTHER_KEY), ErrorCode.UNAUTHENTICATED),
    "another secret": (
        lambda: hs256(secret="somebody else's secret, long enough"),
        ErrorCode.UNAUTHENTICATED,
    ),
    "an unknown key id": (
        lambda: es256(headers={"kid": "gone"}),
        ErrorCode.UNAUTHENTICATED,
    ),
    "no key id": (
        lambda: jwt.encode(claims(), EC_KEY, "ES256"),
        ErrorCode.UNAUTHENTICATED,
    ),
    "a key brought along": (
        lambda: es256(
            key=OTHER_KEY, headers={"kid": "x", "jwk": public_jwk(OTHER_KEY, "x", "ES256")}
        ),
        ErrorCode.UNAUTHENTICATED,
    ),
    "another issuer": (
        lambda: es256(iss="https://other.supabase.co/auth/v1"),
        ErrorCode.UNAUTHENTICATED,
    ),
    "no issuer": (lambda: es256(iss=None), ErrorCode.UNAUTHENTICATED),
    "another audience": (lambda: es256(aud="anon"), ErrorCode.UNAUTHENTICATED),
    "no audience": (lambda: es256(aud=None), ErrorCode.UNAUTHENTICATED),
    "role anon": (lambda: es256(role="anon"), ErrorCode.UNAUTHENTICATED),
    "role service_role": (lambda: es256(role="service_role"), ErrorCode.UNAUTHENTICATED),
    "no role": (lambda: es256(role=None), ErrorCode.UNAUTHENTICATED),
    "no expiry": (lambda: es256(exp=None), ErrorCode.UNAUTHENTICATED),
    "not valid yet": (lambda: es256(nbf=int(time.time()) + 60), ErrorCode.UNAUTHENTICATED),
    "issued in the future": (lambda: es256(iat=int(time.time()) + 60), ErrorCode.UNAUTHENTICATED),
    "no subject": (lambda: es256(sub=None), ErrorCode.UNAUTHENTICATED),
    "a subject that is no id": (lambda: es256(sub="admin"), ErrorCode.UNAUTHENTICATED),
    "the legacy anon key": (
        lambda: jwt.encode(
            {"iss": "supabase", "role": "anon", "exp": int(time.time()) + 60}, SECRET, "HS256"
        ),
        ErrorCode.UNAUTHENTICATED,
    ),
    "the legacy service key": (
        lambda: jwt.encode(
            {"iss": "supabase", "role": "service_role", "exp": int(time.time()) + 60},
            SECRET,
            "HS256",
        ),
        ErrorCode.UNAUTHENTICATED,
    ),
    "a new secret key": (lambda: "sb_secret_0123456789", ErrorCode.UNAUTHENTICATED),
    "garbage": (lambda: "a.b.c", ErrorCode.UNAUTHENTICATED),
    "emptiness": (lambda: "", ErrorCode.UNAUTHENTICATED),
    "a novel": (lambda: "x" * 100_000, ErrorCode.UNAUTHENTICATED),
    "a GPU machine": (lambda: es256(app_metadata={"kind": "gpu"}), ErrorCode.FORBIDDEN),
}


@pytest.mark.parametrize("name", GOOD)
async def test_a_good_token_names_its_user(make: Make, name: str) -> None:
    """A token of this project for a signed-in user is accepted, whatever key type signed it."""
    token = GOOD[name]()

    principal = await make().principal(f"Bearer {token}")

    assert (str(principal.user_id), principal.token) == (USER, token)


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_token_is_refused(make: Make, name: str) -> None:
    """Each forged token differs from a good one in one thing, and is refused for it."""
    make_token, code = BAD[name]

    with pytest.raises(Problem) as refusal:
        await make().principal(f"Bearer {make_token()}")

    assert refusal.value.code is code


@pytest.mark.parametrize("header", [None, "", "Bearer", "Basic abc", "Token {good}", "{good}"])
async def test_only_the_bearer_scheme_counts(make: Make, header: str | None) -> None:
    """A good token under another scheme, or no header at all, is unauthenticated."""
    sent = None if header is None else header.format(good=es256())

    with pytest.raises(Problem) as refusal:
        await make().principal(sent)

    assert refusal.value.code is ErrorCode.UNAUTHENTICATED


async def test_without_a_secret_no_shared_secret_counts(make: Make) -> None:
    """A project without a legacy secret accepts no HS256 token, not even one with an empty key."""
    for token in (hs256(), by_hand({"alg": "HS256"}, b"")):
        with pytest.raises(Problem) as refusal:
            await make(secret=None).principal(f"Bearer {token}")
        assert refusal.value.code is ErrorCode.UNAUTHENTICATED


async def test_a_published_symmetric_key_is_not_used(make: Make, project: Project) -> None:
    """A shared secret in the published key set verifies no token."""
    known = base64.urlsafe_b64encode(b"k" * 32).rstrip(b"=").decode()
    project.keys = [{"kty": "oct", "kid": "oct", "k": known, "alg": "HS256"}]

    with pytest.raises(Problem) as refusal:
        await make(secret=None).principal(
            f"Bearer {by_hand({'alg': 'HS256', 'kid': 'oct'}, b'k' * 32)}"
        )

    assert refusal.value.code is ErrorCode.UNAUTHENTICATED


async def test_keys_are_fetched_once_in_ten_minutes(
    make: Make, project: Project, clock: Clock
) -> None:
    """Many tokens cost one fetch; after ten minutes a revoked key is unknown."""
    authenticator = make()
    for _ in range(5):
        await authenticator.principal(f"Bearer {es256()}")
    assert project.fetches == 1

    project.keys = []
    clock.now += 601
    with pytest.raises(Problem):
        await authenticator.principal(f"Bearer {es256()}")
    assert project.fetches == 2


async def test_a_new_key_is_found_and_garbage_ids_cost_little(
    make: Make, project: Project, clock: Clock
) -> None:
    """An unknown key id asks again, but at most once in half a minute."""
    authenticator = make()
    await authenticator.principal(f"Bearer {es256()}")
    fresh = es256(key=OTHER_KEY, headers={"kid": "fresh"})
    for _ in range(10):
        with pytest.raises(Problem):
            await authenticator.principal(f"Bearer {fresh}")
    assert project.fetches == 1

    project.keys.append(public_jwk(OTHER_KEY, "fresh", "ES256"))
    clock.now += 31
    await authenticator.principal(f"Bearer {fresh}")
    assert project.fetches == 2


async def test_an_outage_of_auth_signs_nobody_out(
    make: Make, project: Project, clock: Clock
) -> None:
    """Known keys stay good while they cannot be fetched."""
    authenticator = make()
    await authenticator.principal(f"Bearer {es256()}")
    project.broken = True
    clock.now += 3600

    await authenticator.principal(f"Bearer {es256()}")


async def test_without_any_keys_the_fault_is_ours(make: Make, project: Project) -> None:
    """When keys were never there, the answer is 503: the token may be perfectly good."""
    project.broken = True

    with pytest.raises(Problem) as refusal:
        await make().principal(f"Bearer {es256()}")

    assert refusal.value.code is ErrorCode.UPSTREAM_UNAVAILABLE


def test_the_token_is_not_in_the_principals_repr() -> None:
    """A principal that is logged by accident reveals no token."""
    from api.auth import Principal

    principal = Principal(user_id=uuid4(), email=None, token="very secret")

    assert "very secret" not in repr(principal)
