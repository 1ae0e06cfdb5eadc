"""`oidc`: whom an OpenID Connect provider lets in, with the rights that the file gives the user and their groups.

Browsers have a login in Redis, whose secret their cookie holds; programs send an ID token of the provider as bearer token.
"""

from __future__ import annotations

import hashlib
import time
from functools import lru_cache

import msgspec
from authlib.common.security import generate_token
from cachetools import TTLCache
from starlette.types import Scope

from api.access.caller import Caller
from api.access.credentials import bearer_and_cookie
from api.access.openid import Identity, OpenIdProvider
from api.access.rights_file import Granted, RightsFile
from shared.errors import LoginRefused, SettingsError
from shared.settings import AuthSettings
from shared.store.logins import Login, Logins

_MOST_CALLERS = 4096
# A login that ended on another replica may go on here for so long.
_KNOWN_FOR = 5.0
_VERIFIED_FOR = 60.0
_VERIFIER_LENGTH = 64


class LoginAttempt(msgspec.Struct):
    """What a browser that was sent to the provider keeps in a cookie until it is back.

    `state`: what comes back with it; `verifier`: of PKCE; `nonce`: what the ID token must hold; `target`: where it goes then.
    """

    state: str
    verifier: str
    nonce: str
    target: str


class OpenIdLogins:
    """One per event loop."""

    tokens = True
    provider = True

    def __init__(self, provider: OpenIdProvider, logins: Logins, file: RightsFile, login_age: int) -> None:
        self._provider = provider
        self._logins = logins
        self._file = file
        self._login_age = login_age
        self._known: TTLCache[bytes, Login] = TTLCache(_MOST_CALLERS, _KNOWN_FOR)
        self._verified: TTLCache[bytes, Identity] = TTLCache(_MOST_CALLERS, _VERIFIED_FOR)
        self._callers = lru_cache(maxsize=_MOST_CALLERS)(_caller)

    @classmethod
    def of(cls, settings: AuthSettings, logins: Logins) -> OpenIdLogins:
        """Raises SettingsError."""
        if not settings.auth_file:
            raise SettingsError("RAY_HISTORY_AUTH_FILE: RAY_HISTORY_AUTH=oidc needs the file with the rights of users and groups")
        return cls(OpenIdProvider(settings), logins, RightsFile(settings.auth_file), settings.login_age)

    async def caller(self, scope: Scope) -> Caller | None:
        """Raises StoreUnavailable, and LoginUnavailable for a bearer token."""
        bearer, secret = bearer_and_cookie(scope)
        if bearer:
            return await self.of_token(bearer)
        return await self._of_login(secret) if secret else None

    async def of_token(self, token: str) -> Caller | None:
        """Whose ID token that is. Raises LoginUnavailable."""
        key = _digest(token)
        found = self._verified.get(key)
        if found is None:
            try:
                found = self._verified[key] = await self._provider.of_token(token)
            except LoginRefused:
                return None
        return self._callers(self._file.granted(), found.name, found.groups) if found.expires > time.time() else None

    async def begin(self, redirect_uri: str, target: str) -> tuple[str, LoginAttempt]:
        """Where to send a browser, and what it keeps. Nothing is kept here: anybody may ask. Raises LoginUnavailable."""
        attempt = LoginAttempt(generate_token(), generate_token(_VERIFIER_LENGTH), generate_token(), target)
        return await self._provider.login_url(redirect_uri, attempt.state, attempt.nonce, attempt.verifier), attempt

    async def finish(self, attempt: LoginAttempt, code: str, redirect_uri: str) -> tuple[str, str]:
        """The login's secret, and the user's name. Raises LoginRefused, LoginUnavailable, StoreUnavailable."""
        found = await self._provider.of_code(code, redirect_uri, attempt.verifier, attempt.nonce)
        return await self._logins.open(Login(found.name, list(found.groups)), self._login_age), found.name

    async def end(self, scope: Scope) -> None:
        """The login of this request's cookie is none any more. Raises StoreUnavailable."""
        _, secret = bearer_and_cookie(scope)
        if secret:
            await self._logins.close(secret)
            self._known.pop(_digest(secret), None)

    async def aclose(self) -> None:
        await self._provider.aclose()

    async def _of_login(self, secret: str) -> Caller | None:
        key = _digest(secret)
        found = self._known.get(key)
        if found is None:
            found = await self._logins.find(secret)
            if found is None:
                return None
            self._known[key] = found
        return self._callers(self._file.granted(), found.name, tuple(found.groups))


def _caller(granted: Granted, name: str, groups: tuple[str, ...]) -> Caller:
    return Caller(name, granted.of_user(name, groups))


def _digest(secret: str) -> bytes:
    """Not the secret itself: what is kept may end in a dump."""
    return hashlib.sha256(secret.encode()).digest()
