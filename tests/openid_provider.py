"""An OpenID Connect provider on loopback: everybody who comes is `user`, and gets a code that is good for one exchange."""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from tests.live_kubernetes.serving import serving

CLIENT, SECRET = "ray-history", "the-secret-of-the-client"


class Provider:
    """`user`: claims of whoever logs in; `changed`: claims of ID tokens that are told otherwise than they should; `asked`: paths."""

    def __init__(self) -> None:
        self.issuer = ""
        self.user: dict[str, Any] = {"email": "right@example.com", "groups": ["ml"]}
        self.changed: dict[str, Any] = {}
        self.asked: list[str] = []
        self.fail = False
        self.new_key()
        self._codes: dict[str, dict[str, str]] = {}

    def new_key(self) -> None:
        """As providers do from time to time."""
        self.key = RSAKey.generate_key(2048, {"kid": secrets.token_hex(4), "use": "sig"})

    @contextmanager
    def running(self) -> Iterator[Provider]:
        routes = [
            Route("/.well-known/openid-configuration", self._configuration),
            Route("/keys", self._keys),
            Route("/authorize", self._authorize),
            Route("/token", self._token, methods=["POST"]),
        ]
        with serving(Starlette(routes=routes)) as port:
            self.issuer = f"http://127.0.0.1:{port}"
            yield self

    def settings(self, rights: str) -> dict[str, Any]:
        """Of a server whose login this is."""
        return {
            "auth": "oidc",
            "auth_file": rights,
            "oidc_issuer": self.issuer,
            "oidc_client_id": CLIENT,
            "oidc_client_secret": SECRET,
        }

    def id_token(self, email: str, **changed: Any) -> str:
        now = int(time.time())
        claims = {"iss": self.issuer, "sub": "1", "aud": CLIENT, "iat": now, "exp": now + 300, "email": email} | changed
        return jwt.encode({"alg": "RS256", "kid": self.key.kid}, claims, self.key)

    async def _configuration(self, request: Request) -> Response:
        self.asked.append(request.url.path)
        if self.fail:
            return JSONResponse({}, 503)
        names = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
        return JSONResponse({"issuer": self.issuer, **{name: f"{self.issuer}/{path}" for name, path in names.items()}})

    async def _keys(self, request: Request) -> Response:
        self.asked.append(request.url.path)
        return JSONResponse(KeySet([self.key]).as_dict(private=False))

    async def _authorize(self, request: Request) -> Response:
        asked = dict(request.query_params)
        if asked["client_id"] != CLIENT or asked["response_type"] != "code" or asked["code_challenge_method"] != "S256":
            return JSONResponse({"error": "invalid_request"}, 400)
        code = secrets.token_urlsafe()
        self._codes[code] = asked
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}")

    async def _token(self, request: Request) -> Response:
        form = await request.body()
        given = dict(pair.split("=", 1) for pair in form.decode().split("&"))
        asked = self._codes.pop(given.get("code", ""), None)
        basic = "Basic " + base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        challenge = base64.urlsafe_b64encode(hashlib.sha256(given.get("code_verifier", "").encode()).digest()).decode().rstrip("=")
        if asked is None or request.headers.get("authorization") != basic or challenge != asked["code_challenge"]:
            return JSONResponse({"error": "invalid_grant"}, 400)
        user = {"nonce": asked["nonce"], **self.user, **self.changed}
        token = self.id_token(user.pop("email"), **user)
        return JSONResponse({"access_token": "a", "token_type": "Bearer", "id_token": token})
