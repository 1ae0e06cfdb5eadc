"""Logging in from a browser, where callers have tokens: the token goes into a cookie that scripts cannot read.

The cookie holds the token itself, so that it ends when the token does, on every replica, and there is no key to share.
"""

from __future__ import annotations

import html
from typing import cast
from urllib.parse import parse_qs

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import HTTPException
from fastapi.responses import JSONResponse, RedirectResponse

from api.access.caller import current_caller
from api.access.middleware import AuthenticatorHolder
from api.access.modes import TOKEN_COOKIE, Authenticator
from api.pages.files import page
from api.pages.navigation import same_site
from shared.errors import InvalidReference
from shared.settings import Settings

router = APIRouter(include_in_schema=False)

_LONGEST_FORM = 16_384
_FORM = """<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>Log in - Ray History Server</title>
  <link rel="icon" href="pages/favicon.svg" type="image/svg+xml">
  <link rel="stylesheet" href="pages/style.css">
</head>
<body>
  <header><img src="pages/favicon.svg" alt=""><a href="./">Ray History Server</a></header>
  <main>
    <h1>Log in</h1>
    {said}
    <form class="search" method="post" action="login">
      <label>Token
        <input type="password" name="token" autocomplete="current-password" spellcheck="false" required autofocus>
      </label>
      <input type="hidden" name="next" value="{next}">
      <button>Log in</button>
    </form>
    {logout}
  </main>
</body>
</html>
"""
_LOGOUT = '<form method="post" action="logout"><p>You are logged in as {name}.</p><p class="actions"><button>Log out</button></p></form>'
_UNKNOWN = '<p class="trouble" role="alert">This token is not known, or not any more.</p>'


@router.api_route("/login", methods=["GET", "HEAD"])
async def login_page(request: Request) -> Response:
    """`next`: where the browser wanted to go."""
    authenticator = _authenticator(request)
    caller = await authenticator.caller(request.scope)
    return _form(_next(request.query_params.get("next", "/")), logout=_LOGOUT.format(name=html.escape(caller.name)) if caller else "")


@router.post("/login")
async def log_in(request: Request) -> Response:
    authenticator = _authenticator(request)
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LONGEST_FORM:
            raise HTTPException(413)
    given = parse_qs(body.decode("latin-1"))
    token, target = given.get("token", [""])[0].strip(), _next(given.get("next", ["/"])[0])
    if not token or await authenticator.of_token(token) is None:
        answer = _form(target, said=_UNKNOWN)
        answer.status_code = 401
        return answer
    answer = RedirectResponse(target, 303, {"Cache-Control": "no-store"})
    cookie_age = cast("Settings", request.app.state.settings).auth.login_age
    answer.set_cookie(TOKEN_COOKIE, token, max_age=cookie_age, httponly=True, samesite="lax", secure=_by_tls(request))
    return answer


@router.post("/logout")
async def log_out(request: Request) -> Response:
    _authenticator(request)
    answer = RedirectResponse("login", 303, {"Cache-Control": "no-store"})
    answer.delete_cookie(TOKEN_COOKIE, httponly=True, samesite="lax", secure=_by_tls(request))
    return answer


@router.api_route("/caller", methods=["GET", "HEAD"])
async def show_caller(request: Request) -> Response:
    """`{name, auth}`: as whom the server knows the sender of this request."""
    auth = cast("Settings", request.app.state.settings).auth.auth
    return JSONResponse({"name": current_caller().name, "auth": auth}, headers={"Cache-Control": "no-store"})


def _authenticator(request: Request) -> Authenticator:
    """Raises HTTPException 404 where callers have no tokens."""
    authenticator = cast("AuthenticatorHolder", request.app.state.access).authenticator
    if not authenticator.tokens:
        raise HTTPException(404)
    return authenticator


def _form(target: str, said: str = "", logout: str = "") -> Response:
    answer = page(_FORM.format(said=said, next=html.escape(target), logout=logout), None)
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _next(path: str) -> str:
    try:
        return same_site(path)
    except InvalidReference:
        return "/"


def _by_tls(request: Request) -> bool:
    return "https" in (request.url.scheme, request.headers.get("x-forwarded-proto", ""))
