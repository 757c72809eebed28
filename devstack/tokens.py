"""Sign and verify the JSON Web Tokens of the stack."""

import dataclasses
import time
from collections.abc import Mapping
from typing import Any, ClassVar

import jwt
from cryptography.hazmat.primitives.asymmetric import ec


Claims = dict[str, Any]

#: Verified tokens kept so that a client's next request costs no ECDSA check (about 0.1 ms each).
CACHE_COUNT = 1024

#: How far in the future `nbf` may lie; PostgREST allows the same.
LEEWAY_SECONDS = 30


class TokenError(Exception):
    """JWT is not accepted."""

    #: PostgREST's code for it.
    code: ClassVar[str] = "PGRST301"

    @property
    def message(self) -> str:
        return str(self) or str(type(self).__doc__)


class InvalidTokenError(TokenError):
    """JWT is invalid: form, signature, algorithm or claims."""


class ExpiredTokenError(TokenError):
    """JWT expired"""

    code: ClassVar[str] = "PGRST303"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """
    Signs user tokens with ES256 and checks every token that reaches the gateway.

    The algorithm is bound to the key: a token with `kid` is checked with the public key and
    nothing else, a token without it with the shared secret, so neither can stand in for the other.
    """

    issuer: str
    signing_key: ec.EllipticCurvePrivateKey
    key_id: str
    jwt_secret: str
    lifetime_seconds: int = 3600
    _verified: dict[str, Claims] = dataclasses.field(default_factory=dict, repr=False)

    def mint(self, claims: Mapping[str, Any]) -> str:
        """Sign *claims* as a user token; `iss`, `iat` and `exp` are added."""
        now = int(time.time())
        stamped = {
            "iss": self.issuer,
            "iat": now,
            "exp": now + self.lifetime_seconds,
            **claims,
        }
        return jwt.encode(
            stamped, self.signing_key, algorithm="ES256", headers={"kid": self.key_id}
        )

    def verify(self, token: str) -> Claims:
        """
        Claims of *token*. Treat the result as read-only: it is shared by equal tokens.

        Raises: ExpiredTokenError, InvalidTokenError.
        """
        claims = self._verified.get(token)
        if claims is None:
            claims = self._decode(token)
            if len(self._verified) >= CACHE_COUNT:
                self._verified.clear()
            self._verified[token] = claims
        if claims.get("exp", float("inf")) <= time.time():
            raise ExpiredTokenError
        return claims

    def public_jwk(self) -> dict[str, Any]:
        """The public half of the signing key, as an entry of `/.well-known/jwks.json`."""
        jwk: dict[str, Any] = jwt.algorithms.ECAlgorithm.to_jwk(
            self.signing_key.public_key(), as_dict=True
        )
        return {**jwk, "alg": "ES256", "kid": self.key_id, "use": "sig", "key_ops": ["verify"]}

    def _decode(self, token: str) -> Claims:
        try:
            header = jwt.get_unverified_header(token)
            with_kid = header.get("kid") == self.key_id
            claims: Claims = jwt.decode(
                token,
                self.signing_key.public_key() if with_kid else self.jwt_secret,
                algorithms=["ES256" if with_kid else "HS256"],
                leeway=LEEWAY_SECONDS,
                # `exp` is checked by verify(), on every use. Audience is the reader's business.
                options={"verify_exp": False, "verify_aud": False},
            )
        except jwt.InvalidTokenError as error:
            raise InvalidTokenError(f"JWT is invalid: {error}") from error
        if not isinstance(claims.get("role", "anon"), str):
            raise InvalidTokenError("JWT is invalid: role must be a string")
        return claims
