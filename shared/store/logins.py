"""Logins of browsers in Redis, each under the hash of a secret that only the browser's cookie holds. All of them expire.

So a login ends on every replica at once, and whoever reads Redis finds no secret that would let them in.
"""

from __future__ import annotations

import hashlib
import secrets

import msgspec

from shared.store.client import AsyncRedis, redis_errors
from shared.store.keys import Keyspace

_SECRET_BYTES = 32


class Login(msgspec.Struct):
    """Who has logged in."""

    name: str
    groups: list[str]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Login).decode


class Logins:
    """Each call raises StoreUnavailable."""

    def __init__(self, redis: AsyncRedis, keyspace: Keyspace) -> None:
        self._redis = redis
        self._base = keyspace.logins

    async def open(self, login: Login, seconds: int) -> str:
        """The secret by which it is found, for the browser's cookie."""
        secret = secrets.token_urlsafe(_SECRET_BYTES)
        with redis_errors():
            await self._redis.set(self._key(secret), _encode(login), ex=seconds)
        return secret

    async def find(self, secret: str) -> Login | None:
        """None: it has ended, or is none."""
        with redis_errors():
            found = await self._redis.get(self._key(secret))
        try:
            return _decode(found) if found else None
        except msgspec.DecodeError:
            # Written by another version: whoever it was logs in again.
            return None

    async def close(self, secret: str) -> None:
        with redis_errors():
            await self._redis.delete(self._key(secret))

    def _key(self, secret: str) -> str:
        return self._base + hashlib.sha256(secret.encode()).hexdigest()
