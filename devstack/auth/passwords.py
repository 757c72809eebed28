"""Keep passwords as scrypt hashes, computed off the event loop."""

import asyncio
import base64
import hashlib
import hmac
import secrets


#: Light on purpose (about 12 ms): tests sign hundreds of users up, and these guard nothing.
COST, BLOCK, PARALLEL = 2**12, 8, 1

SALT_BYTES = 16

MIN_CHARACTERS = 6

#: Hosted, bcrypt reads no more.
MAX_BYTES = 72


async def hashed(password: str) -> str:
    """Salted hash of *password*, in the form `$scrypt$n$r$p$salt$hash`."""
    salt = secrets.token_bytes(SALT_BYTES)
    digest = await asyncio.to_thread(_derive, password, salt, COST, BLOCK, PARALLEL)
    parts = [base64.b64encode(part).decode() for part in (salt, digest)]
    return "$".join(["", "scrypt", str(COST), str(BLOCK), str(PARALLEL), *parts])


async def matches(password: str, kept: str | None) -> bool:
    """Whether *password* is the one behind the hash *kept*; other kinds of hash never match."""
    parts = (kept or "").split("$")
    if parts[:2] != ["", "scrypt"]:
        return False
    cost, block, parallel = (int(part) for part in parts[2:5])
    salt, expected = (base64.b64decode(part) for part in parts[5:])
    digest = await asyncio.to_thread(_derive, password, salt, cost, block, parallel)
    return hmac.compare_digest(digest, expected)


def _derive(password: str, salt: bytes, cost: int, block: int, parallel: int) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=cost, r=block, p=parallel, dklen=32)
