"""The secrets of one stack, generated once."""

import dataclasses
import hashlib
import secrets
import time

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from devstack import tokens


#: Of the anon and the service key, as on the hosted platform.
API_KEY_LIFETIME_SECONDS = 10 * 365 * 24 * 3600


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """Passwords and keys. All are text, so that they can be kept as JSON."""

    #: Of the database's superuser `postgres`.
    postgres_password: str
    #: Signs the two API keys (HS256), as on projects with legacy keys.
    jwt_secret: str
    #: PEM of the P-256 key that signs user tokens (ES256).
    signing_key: str
    anon_key: str
    service_key: str
    r2_access_key_id: str
    r2_secret_access_key: str

    def tokens(self, *, url: str, lifetime_seconds: int) -> tokens.Tokens:
        """What signs and checks the tokens of the gateway at *url*."""
        pem = self.signing_key.encode()
        key = serialization.load_pem_private_key(pem, password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError("signing_key is not an elliptic curve key")
        return tokens.Tokens(
            issuer=f"{url}/auth/v1",
            signing_key=key,
            key_id=hashlib.sha256(pem).hexdigest()[:16],
            jwt_secret=self.jwt_secret,
            lifetime_seconds=lifetime_seconds,
        )


def generate() -> Keys:
    jwt_secret = secrets.token_urlsafe(48)
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return Keys(
        postgres_password=secrets.token_urlsafe(24),
        jwt_secret=jwt_secret,
        signing_key=pem.decode(),
        anon_key=_api_key("anon", jwt_secret),
        service_key=_api_key("service_role", jwt_secret),
        r2_access_key_id=secrets.token_hex(16),
        r2_secret_access_key=secrets.token_hex(32),
    )


def _api_key(role: str, jwt_secret: str) -> str:
    now = int(time.time())
    claims = {
        "iss": "supabase",
        "ref": "devstack",
        "role": role,
        "iat": now,
        "exp": now + API_KEY_LIFETIME_SECONDS,
    }
    return jwt.encode(claims, jwt_secret, algorithm="HS256")
