"""An OpenID Connect provider: where browsers are sent to log in, and who an ID token says they are.

Authorization code flow with PKCE (RFC 7636); ID tokens are verified as OpenID Connect Core 3.1.3.7 asks for.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import structlog
from authlib.common.urls import add_params_to_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet

from shared.errors import LoginRefused, LoginUnavailable, SettingsError
from shared.settings import AuthSettings

log = structlog.get_logger()

# Signed by the provider's private key; `none` and shared secrets are not among them.
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
_TIMEOUT = 10.0
_CLOCKS_DIFFER = 60
_KEYS_KEPT_FOR = 3600.0
_KEYS_ASKED_AGAIN_AFTER = 10.0


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom the provider knows; `expires`: the end of the ID token, in seconds since the epoch."""

    name: str
    groups: tuple[str, ...]
    expires: float


class OpenIdProvider:
    """One per event loop. Nothing is asked of the provider before somebody logs in: while it is away, logins that there are go on."""

    def __init__(self, settings: AuthSettings, transport: httpx.AsyncBaseTransport | None = None) -> None:
        """Raises SettingsError."""
        for variable, value in (("OIDC_ISSUER", settings.oidc_issuer), ("OIDC_CLIENT_ID", settings.oidc_client_id)):
            if not value:
                raise SettingsError(f"RAY_HISTORY_{variable}: RAY_HISTORY_AUTH=oidc needs it")
        self._settings = settings
        self._secret = _client_secret(settings)
        self._client = httpx.AsyncClient(timeout=_TIMEOUT, transport=transport)
        self._metadata: dict[str, Any] = {}
        self._keys: KeySet | None = None
        self._keys_asked = float("-inf")

    async def login_url(self, redirect_uri: str, state: str, nonce: str, verifier: str) -> str:
        """Where a browser is sent. Raises LoginUnavailable."""
        asked = {
            "response_type": "code",
            "client_id": self._settings.oidc_client_id,
            "redirect_uri": redirect_uri,
            "scope": self._settings.oidc_scopes,
            "state": state,
            "nonce": nonce,
            "code_challenge": create_s256_code_challenge(verifier),
            "code_challenge_method": "S256",
        }
        return str(add_params_to_uri(await self._endpoint("authorization_endpoint"), list(asked.items())))

    async def of_code(self, code: str, redirect_uri: str, verifier: str, nonce: str) -> Identity:
        """Who came back with that code. Raises LoginRefused and LoginUnavailable."""
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri, "code_verifier": verifier}
        basic = httpx.BasicAuth(self._settings.oidc_client_id, self._secret) if self._secret else None
        if basic is None:
            form["client_id"] = self._settings.oidc_client_id
        answer = await self._json("POST", await self._endpoint("token_endpoint"), data=form, auth=basic)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise LoginRefused("the provider gave no ID token: the scopes must have openid")
        return await self.of_token(token, nonce=nonce, access_token=answer.get("access_token"))

    async def of_token(self, token: str, **expected: Any) -> Identity:
        """Who an ID token is about. `expected`: its nonce, the access token beside it. Raises LoginRefused and LoginUnavailable."""
        settings = self._settings
        try:
            found = await self._verified(token)
            claims = CodeIDToken(
                found.claims,
                found.header,
                {"iss": {"essential": True, "value": settings.oidc_issuer}, "aud": {"essential": True, "value": settings.oidc_client_id}},
                {"client_id": settings.oidc_client_id, **expected},
            )
            claims.validate(leeway=_CLOCKS_DIFFER)
        except (JoseError, ValueError, TypeError) as exc:
            raise LoginRefused(f"the ID token is not valid: {type(exc).__name__}") from exc
        return self._identity(claims)

    async def aclose(self) -> None:
        await self._client.aclose()

    def _identity(self, claims: CodeIDToken) -> Identity:
        of_user, of_groups = self._settings.oidc_user_claim, self._settings.oidc_groups_claim
        name = claims.get(of_user)
        if not isinstance(name, str) or not name.strip() or not name.isprintable():
            raise LoginRefused(f"the ID token does not name the user: it has no claim {of_user}")
        if of_user == "email" and claims.get("email_verified") is False:
            raise LoginRefused("the provider has not verified the user's address")
        groups = claims.get(of_groups, [])
        listed = [groups] if isinstance(groups, str) else groups if isinstance(groups, list) else []
        return Identity(name, tuple(group for group in listed if isinstance(group, str)), float(claims["exp"]))

    async def _verified(self, token: str) -> jwt.Token:
        try:
            return jwt.decode(token, await self._provider_keys(_KEYS_KEPT_FOR), algorithms=_ALGORITHMS)
        except InvalidKeyIdError:
            # Providers change their keys.
            return jwt.decode(token, await self._provider_keys(_KEYS_ASKED_AGAIN_AFTER), algorithms=_ALGORITHMS)

    async def _provider_keys(self, age: float) -> KeySet:
        """At most so many seconds old."""
        if self._keys is None or time.monotonic() - self._keys_asked > age:
            address = await self._endpoint("jwks_uri")
            self._keys_asked = time.monotonic()
            told = await self._json("GET", address)
            try:
                self._keys = KeySet.import_key_set(told)  # type: ignore[arg-type]
            except (JoseError, ValueError, KeyError, TypeError) as exc:
                raise LoginUnavailable(f"the login provider's keys cannot be read: {type(exc).__name__}") from exc
        return self._keys

    async def _endpoint(self, name: str) -> str:
        if not self._metadata:
            issuer = self._settings.oidc_issuer
            found = await self._json("GET", f"{issuer.rstrip('/')}/.well-known/openid-configuration")
            if found.get("issuer") != issuer:
                raise LoginUnavailable(f"the provider calls itself {found.get('issuer')!r}, RAY_HISTORY_OIDC_ISSUER says {issuer!r}")
            self._metadata = found
        address = self._metadata.get(name)
        if not isinstance(address, str):
            raise LoginUnavailable(f"the provider tells no {name}")
        return address

    async def _json(self, method: str, address: str, **request: Any) -> dict[str, Any]:
        """Raises LoginUnavailable, and LoginRefused where the provider refuses."""
        try:
            answer = await self._client.request(method, address, **request)
            told = answer.json()
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as exc:
            raise LoginUnavailable(f"the login provider can't be asked: {type(exc).__name__}") from exc
        if not isinstance(told, dict) or answer.status_code >= 500 or (method == "GET" and not answer.is_success):
            raise LoginUnavailable(f"the login provider answered {answer.status_code}")
        if not answer.is_success:
            log.warning("login refused by the provider", status=answer.status_code, error=str(told.get("error", ""))[:100])
            raise LoginRefused("the login provider refused the login")
        return told


def _client_secret(settings: AuthSettings) -> str:
    if not settings.oidc_client_secret_file:
        return settings.oidc_client_secret.get_secret_value()
    try:
        return Path(settings.oidc_client_secret_file).expanduser().read_text("utf-8").strip()
    except (OSError, ValueError) as exc:
        raise SettingsError(f"RAY_HISTORY_OIDC_CLIENT_SECRET_FILE: {settings.oidc_client_secret_file} cannot be read ({exc})") from None
