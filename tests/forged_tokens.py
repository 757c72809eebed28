"""Tokens, good and forged, and a project that publishes its keys."""

import base64
import hashlib
import hmac
import json
import time
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import jwt
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa


SECRET = "the legacy secret of this project, long enough"
ISSUER = "https://project.supabase.co/auth/v1"
USER = str(uuid4())

EC_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_KEY = ec.generate_private_key(ec.SECP256R1())


def public_jwk(key: Any, key_id: str, algorithm: str) -> dict[str, Any]:
    """The public half, as the project publishes it."""
    maker = jwt.algorithms.ECAlgorithm if algorithm == "ES256" else jwt.algorithms.RSAAlgorithm
    published = maker.to_jwk(key.public_key(), as_dict=True)
    return {**published, "kid": key_id, "alg": algorithm, "use": "sig"}


def claims(**changed: Any) -> dict[str, Any]:
    """What a user's token says; a value of None leaves the claim out."""
    said = {
        "iss": ISSUER,
        "aud": "authenticated",
        "role": "authenticated",
        "sub": USER,
        "email": "me@example.com",
        "iat": int(time.time()),
        "exp": int(time.time()) + 3600,
        **changed,
    }
    return {name: value for name, value in said.items() if value is not None}


def es256(key: Any = EC_KEY, headers: dict[str, Any] | None = None, **changed: Any) -> str:
    """A token signed with the project's EC key."""
    return jwt.encode(claims(**changed), key, "ES256", headers={"kid": "ec", **(headers or {})})


def hs256(secret: str = SECRET, **changed: Any) -> str:
    """A token signed with the shared secret."""
    return jwt.encode(claims(**changed), secret, "HS256")


def by_hand(header: dict[str, Any], secret: bytes) -> str:
    """A token that no library would sign: HMAC over whatever is wanted."""

    def part(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    head = f"{part(json.dumps(header).encode())}.{part(json.dumps(claims()).encode())}"
    signature = hmac.new(secret, head.encode(), hashlib.sha256).digest() if secret else b""
    return f"{head}.{part(signature)}"


def pem(key: Any) -> bytes:
    """The public key as everybody can read it."""
    public: bytes = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return public


@dataclass
class Project:
    """An Auth server that publishes keys, and counts who asks."""

    keys: list[dict[str, Any]] = field(
        default_factory=lambda: [
            public_jwk(EC_KEY, "ec", "ES256"),
            public_jwk(RSA_KEY, "rsa", "RS256"),
        ]
    )
    fetches: int = 0
    broken: bool = False

    async def jwks(self, _request: web.Request) -> web.Response:
        """The keys."""
        self.fetches += 1
        if self.broken:
            raise web.HTTPBadGateway
        return web.json_response({"keys": self.keys})


@dataclass
class Clock:
    """Time that moves when told to."""

    now: float = 1000.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now
